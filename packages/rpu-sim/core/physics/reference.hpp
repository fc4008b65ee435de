// Devices with a reference r: the weight is w = u - r, with the conductance u between the bounds of the cell. Whatever
// acts on the weight uses the bounds shifted by r.
#pragma once
#include "cell.hpp"

RPU_BEGIN

constexpr int kSymmetryHalvings = 30;  // 24 bits of a float, and some

/// The cell as the weight sees it.
RPU_FN Cell shifted(const Cell& c, F reference) { return {c.b_max - reference, c.b_min - reference, c.s_up, c.s_dn}; }

/// Where 0 lies strictly between the bounds, as it does unless a device is stuck.
RPU_FN M straddles_zero(const F* base) { return (base[kMaxBound] > 0.0f) & (base[kMinBound] < 0.0f); }

RPU_END
