// Quantiser of a DAC or ADC, and its clip.
//
//   Q(v) = D rint(v / D + [U - 1/2 if rounding stochastically]),  then clip to +-bound
//
// D is the width of a level, U uniform in [0, 1). 1 / D is stored, so that a power-of-two or integer number of levels
// rounds exactly. The clip comes second: when bound / D is no integer, clipped values lie off the grid, at the bound.
#pragma once
#include "../kernels_mvm.hpp"
#include "../rng.hpp"

RPU_BEGIN

RPU_FN F quantised(F v, const Converter& c, F rounding) {
  if (c.step > 0.0f) v = rint_(v * c.per_unit + rounding) * c.step;
  return v;
}

RPU_FN F clipped(F v, const Converter& c) { return clip(v, broadcast(-c.bound), broadcast(c.bound)); }

/// Negative values are multiplied by `factor`.
RPU_FN F asymmetric(F v, float factor) { return select(v < 0.0f, v * factor, v); }

RPU_END
