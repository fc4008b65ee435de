// Soft bounds: the step shrinks linearly to zero at the cell's own bound.
//
//   up  s_up (1 - w / b_max),  down  s_dn (1 - w / b_min)
//
// This is LinearStep with gamma = 1 and the cell's bounds as references; the slopes follow from the bounds, so they are
// not stored.
#pragma once
#include "linear_step.hpp"

RPU_BEGIN

struct SoftBounds {
  using Params = params::SoftBoundsDevice;
  using Cell = LinearCell;
  static constexpr int kExtraFields = 0;
  static constexpr bool kStateIndependent = false;
  static constexpr bool kMoments = true;

  AffinePulse affine;
  bool reverse_up, reverse_down;
  float offset;

  explicit SoftBounds(const Params& p)
      : affine{p.dw_min_std, p.mult_noise},
        reverse_up(p.reverse_up),
        reverse_down(p.reverse_down),
        offset(p.reverse_offset) {}

  RPU_FN bool noisy() const { return affine.sigma > 0.0f; }
  RPU_FN bool gaussian() const { return affine.gaussian(); }

  template <class Read> RPU_FN Cell cell(const Read& read) const {
    const auto base = read_cell(read);
    const F one = broadcast(1.0f);
    return {base, slope(one, base.s_up, reverse_up ? base.b_min - offset : base.b_max),
            slope(one, base.s_dn, reverse_down ? base.b_max + offset : base.b_min), base.s_up, base.s_dn};
  }

  RPU_FN F pulse(F w, M up, const Cell& c, F xi) const { return affine(w, up, c, xi); }
  RPU_FN F flow(F w, M up, const Cell& c, F n) const { return affine.flow(w, up, c, n); }
  RPU_FN void moments(F& mean, F& variance, M up, const Cell& c) const { affine.moments(mean, variance, up, c); }
  RPU_FN PulseLaw pulse_law(F w, M up, const Cell& c) const { return affine.pulse_law(w, up, c); }
  RPU_FN WeightLaw after(F w, const PulseNumbers& n, const PulseLaw& up, const PulseLaw& down) const {
    return affine.after(w, n, up, down);
  }

  template <class Draws> RPU_FN void extra_fields(const Params&, const F*, const Draws&, F*) const {}
};

RPU_END
