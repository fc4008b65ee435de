// Power step with a reference: the weight is the conductance minus the reference of the cell, w = u - r, and the pulse
// of PowStep acts on u. Seen from w that is PowStep between the shifted bounds b_max - r and b_min - r.
//
//   r = reference_mean + reference_std xi [ + u* ]     u*: symmetry point, where the up and the down step are equal
#pragma once
#include "pow_step.hpp"
#include "reference.hpp"

RPU_BEGIN

/// Halves the interval of v = (u - b_min) / R, in which s_up (1 - v)^gamma_up - s_dn v^gamma_down changes its sign.
RPU_FN F power_law_symmetry_point(F b_max, F b_min, F s_up, F s_dn, F gamma_up, F gamma_down, int halvings) {
  F low{}, high = broadcast(1.0f);
  for (int i = 0; i < halvings; ++i) {
    const F v = 0.5f * (low + high);
    const M rises = s_up * pow_(1.0f - v, gamma_up) > s_dn * pow_(v, gamma_down);
    low = select(rises, v, low);
    high = select(rises, high, v);
  }
  return b_min + (0.5f * (low + high)) * (b_max - b_min);
}

struct PowStepReference {
  using Params = params::PowStepReferenceDevice;
  using Cell = PowerLawCell;
  enum Extra { kGammaUp = kBaseFields, kGammaDown, kReference, kEnd };
  static constexpr int kExtraFields = kEnd - kBaseFields;
  static constexpr bool kStateIndependent = false;

  PowerLawPulse power;

  explicit PowStepReference(const Params& p) : power{p.dw_min_std} {}

  RPU_FN bool noisy() const { return power.sigma > 0.0f; }
  RPU_FN bool gaussian() const { return false; }

  template <class Read> RPU_FN Cell cell(const Read& read) const {
    return power_law_cell(shifted(read_cell(read), read(kReference)), read(kGammaUp), read(kGammaDown));
  }

  RPU_FN F pulse(F w, M up, const Cell& c, F xi) const { return power(w, up, c, xi); }
  RPU_FN F mean_step(F w, M up, const Cell& c) const { return power.mean_step(w, up, c); }
  RPU_FN PulseLaw pulse_law(F w, M up, const Cell& c) const { return power.pulse_law(w, up, c); }
  RPU_FN void moments(F&, F&, M, const Cell&) const {}

  template <class Draws> RPU_FN void extra_fields(const Params& p, const F* base, const Draws& draw, F* out) const {
    draw_exponents(p, draw, out[0], out[1]);
    out[2] = p.reference_mean + p.reference_std * draw.normal(kDrawDevice + 2);
    if (!p.subtract_symmetry_point) return;
    const int halvings = p.n_estimation_steps > 0 ? p.n_estimation_steps : kSymmetryHalvings;
    const F point = power_law_symmetry_point(base[kMaxBound], base[kMinBound], base[kStepUp], base[kStepDown], out[0],
                                             out[1], halvings);
    out[2] = out[2] + select(straddles_zero(base), point, broadcast(0.0f));
  }
};

RPU_END
