// Constant step: a pulse moves the weight by the same amount, whatever its state.
//
//   up    w <- w + s_up (1 + sigma xi)
//   down  w <- w - s_dn (1 + sigma xi)      both clipped to [b_min, b_max]
#pragma once
#include "cell.hpp"

RPU_BEGIN

struct ConstantStep {
  using Params = params::ConstantStepDevice;
  using Cell = RPU_LEVEL::Cell;
  static constexpr int kExtraFields = 0;
  static constexpr bool kStateIndependent = true;

  float sigma;  // dw_min_std

  explicit ConstantStep(const Params& p) : sigma(p.dw_min_std) {}

  RPU_FN bool noisy() const { return sigma > 0.0f; }

  template <class Read> RPU_FN Cell cell(const Read& read) const { return read_cell(read); }

  RPU_FN F pulse(F w, M up, const Cell& c, F xi) const {
    const F step = select(up, c.s_up, -c.s_dn);
    return bounded(w + step * (1.0f + sigma * xi), c);
  }

  RPU_FN F flow(F w, M up, const Cell& c, F n) const { return bounded(w + select(up, c.s_up, -c.s_dn) * n, c); }

  template <class Draws> RPU_FN void extra_fields(const Params&, const F*, const Draws&, F*) const {}
};

RPU_END
