// Soft bounds with a reference: the weight is the conductance minus the reference of the cell, w = u - r.
//
//   up  s_up (1 - u / b_max),  down  s_dn (1 - u / b_min),  u clipped to [b_min, b_max]
//
// Seen from w the step is affine, s + slope (w + r) with slope_up = -s_up / b_max and slope_down = -s_dn / b_min (0 where
// b_max <= 0 or b_min >= 0), between shifted bounds. Drawn once for each cell:
//
//   b_max / max(|1 + slope_up_dtod xi|, 0.1),  b_min / max(|1 + slope_down_dtod xi|, 0.1)
//   r = reference_mean + reference_std xi [ + u* ]
//   u* = (s_up - s_dn) / (s_up / b_max - s_dn / b_min)     symmetry point, where the up and the down step are equal
#pragma once
#include "linear_step.hpp"
#include "reference.hpp"

RPU_BEGIN

constexpr float kFlattestSlope = 0.1f;  // a slope of 0 would be a bound at infinity

RPU_FN F soft_symmetry_point(const F* base) {
  const F s_up = base[kStepUp], s_dn = base[kStepDown];
  const F slopes = s_up / base[kMaxBound] - s_dn / base[kMinBound];
  return select(straddles_zero(base) & (slopes != 0.0f), (s_up - s_dn) / slopes, broadcast(0.0f));
}

struct SoftBoundsReference {
  using Params = params::SoftBoundsReferenceDevice;
  using Cell = LinearCell;
  enum Extra { kReference = kBaseFields, kEnd };
  static constexpr int kExtraFields = kEnd - kBaseFields;
  static constexpr bool kStateIndependent = false;
  static constexpr bool kMoments = true;

  AffinePulse affine;

  explicit SoftBoundsReference(const Params& p) : affine{p.dw_min_std, p.mult_noise} {}

  RPU_FN bool noisy() const { return affine.sigma > 0.0f; }
  RPU_FN bool gaussian() const { return affine.gaussian(); }

  template <class Read> RPU_FN Cell cell(const Read& read) const {
    const auto base = read_cell(read);
    const F r = read(kReference), zero = broadcast(0.0f);
    const F slope_up = select(base.b_max > 0.0f, -base.s_up / base.b_max, zero);
    const F slope_down = select(base.b_min < 0.0f, -base.s_dn / base.b_min, zero);
    return {shifted(base, r), slope_up, slope_down, base.s_up + slope_up * r, base.s_dn + slope_down * r};
  }

  RPU_FN F pulse(F w, M up, const Cell& c, F xi) const { return affine(w, up, c, xi); }
  RPU_FN F flow(F w, M up, const Cell& c, F n) const { return affine.flow(w, up, c, n); }
  RPU_FN void moments(F& mean, F& variance, M up, const Cell& c) const { affine.moments(mean, variance, up, c); }
  RPU_FN PulseLaw pulse_law(F w, M up, const Cell& c) const { return affine.pulse_law(w, up, c); }
  RPU_FN WeightLaw after(F w, const PulseNumbers& n, const PulseLaw& up, const PulseLaw& down) const {
    return affine.after(w, n, up, down);
  }

  template <class Draws> RPU_FN void extra_fields(const Params& p, F* base, const Draws& draw, F* out) const {
    const F flattest = broadcast(kFlattestSlope);
    const F f_down = max_(abs_(1.0f + p.slope_down_dtod * draw.normal(kDrawDevice)), flattest);
    const F f_up = max_(abs_(1.0f + p.slope_up_dtod * draw.normal(kDrawDevice + 1)), flattest);
    const M proper = straddles_zero(base);
    base[kMaxBound] = select(proper, base[kMaxBound] / f_up, base[kMaxBound]);
    base[kMinBound] = select(proper, base[kMinBound] / f_down, base[kMinBound]);
    out[0] = p.reference_mean + p.reference_std * draw.normal(kDrawDevice + 2);
    if (p.subtract_symmetry_point) out[0] = out[0] + soft_symmetry_point(base);
  }
};

RPU_END
