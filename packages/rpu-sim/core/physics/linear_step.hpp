// Linear step: the step is an affine function of the weight. Slopes are per cell.
//
//   mult_noise       up    w <- w + (s_up + slope_up w)(1 + sigma xi)
//                    down  w <- w - (s_dn + slope_down w)(1 + sigma xi)
//   additive noise   up    w <- w + slope_up w + s_up (1 + sigma xi)
//                    down  w <- w - slope_down w - s_dn (1 + sigma xi)      all clipped to [b_min, b_max]
//
//   slope_up = -gamma_up s_up / R_up,  slope_down = -gamma_down s_dn / R_down
// with the references R_up = w_max, R_down = w_min (or the cell's own bounds).
#pragma once
#include "closed_form.hpp"
#include "flow.hpp"
#include "population.hpp"

RPU_BEGIN

/// Slope that makes the step vanish at `reference` for gamma = 1; 0 where there is no reference.
RPU_FN F slope(F gamma, F step, F reference) {
  return select(reference == 0.0f, broadcast(0.0f), -gamma * step / reference);
}

struct LinearCell : Cell {
  F slope_up, slope_down;
  F at_zero_up, at_zero_down;  // mean steps at weight 0; the additive noise scales with s_up and s_dn
};

/// The affine pulse of LinearStep, SoftBounds and SoftBoundsReference.
struct AffinePulse {
  float sigma;
  bool mult_noise;

  /// With additive noise n pulses stay exactly Gaussian, so that mean and variance can be propagated instead.
  RPU_FN bool gaussian() const { return !mult_noise || sigma == 0.0f; }

  RPU_FN F operator()(F w, M up, const LinearCell& c, F xi) const {
    const F at_zero = select(up, c.at_zero_up, -c.at_zero_down), slope = select(up, c.slope_up, -c.slope_down);
    const F mean = at_zero + slope * w;
    const F noise = (mult_noise ? mean : select(up, c.s_up, -c.s_dn)) * (sigma * xi);
    return bounded(w + (mean + noise), c);
  }

  RPU_FN F flow(F w, M up, const LinearCell& c, F n) const {
    return bounded(affine_flow(w, select(up, c.at_zero_up, -c.at_zero_down), select(up, c.slope_up, -c.slope_down), n), c);
  }

  RPU_FN PulseLaw pulse_law(F w, M up, const LinearCell& c) const {
    const F at_zero = select(up, c.at_zero_up, -c.at_zero_down), slope = select(up, c.slope_up, -c.slope_down);
    const F change = at_zero + slope * w;
    if (mult_noise) return proportional(change, slope, sigma);
    return {change, select(up, c.s_up, -c.s_dn) * sigma, slope, F{}};
  }

  /// Mean and variance after one more pulse, away from the bounds; exact, but the law is Gaussian only when gaussian().
  RPU_FN void moments(F& mean, F& variance, M up, const LinearCell& c) const {
    propagate(pulse_law(mean, up, c), mean, variance);
  }

  /// After n up and m down pulses. Exact for all up pulses before or after all down pulses; between the two, the mean and
  /// the standard deviations that the noise of up and of down pulses leaves are linear in the share of pairs.
  RPU_FN WeightLaw after(F w, const PulseNumbers& n, const PulseLaw& up, const PulseLaw& down) const {
    Powers u, d;
    powers(up.bend, n.n_up, down.bend, n.n_down, u, d);
    const F up_first = n.order, down_first = 1.0f - n.order;
    const F rise = u.sum * up.change, fall = d.sum * down.change;  // of pulses in one direction
    const F bent_up = down_first * (up.bend * u.sum), bent_down = up_first * (down.bend * d.sum);
    const F mean = w + ((rise + fall) + (bent_down * rise + bent_up * fall));
    if (mult_noise) {
      const F a_up = u.last * (up.spread * (1.0f + bent_down) + down_first * (up.spread_bend * fall));
      const F a_down = d.last * (down.spread * (1.0f + bent_up) + up_first * (down.spread_bend * rise));
      const F bends = n.up * (up.spread_bend * up.spread_bend) + n.down * (down.spread_bend * down.spread_bend);
      return {mean, (n.up * (a_up * a_up) + n.down * (a_down * a_down)) * (1.0f + 0.5f * bends)};
    }
    const F a_up = up.spread * (1.0f + bent_down), a_down = down.spread * (1.0f + bent_up);
    Powers u2, d2;  // of the squares
    powers(up.bend * (2.0f + up.bend), n.n_up, down.bend * (2.0f + down.bend), n.n_down, u2, d2);
    return {mean, u2.sum * (a_up * a_up) + d2.sum * (a_down * a_down)};
  }
};

struct LinearStep {
  using Params = params::LinearStepDevice;
  using Cell = LinearCell;
  enum Extra { kSlopeUp = kBaseFields, kSlopeDown, kEnd };
  static constexpr int kExtraFields = kEnd - kBaseFields;
  static constexpr bool kStateIndependent = false;
  static constexpr bool kMoments = true;

  AffinePulse affine;

  explicit LinearStep(const Params& p) : affine{p.dw_min_std, p.mult_noise} {}

  RPU_FN bool noisy() const { return affine.sigma > 0.0f; }
  RPU_FN bool gaussian() const { return affine.gaussian(); }

  template <class Read> RPU_FN Cell cell(const Read& read) const {
    const auto base = read_cell(read);
    return {base, read(kSlopeUp), read(kSlopeDown), base.s_up, base.s_dn};
  }

  RPU_FN F pulse(F w, M up, const Cell& c, F xi) const { return affine(w, up, c, xi); }
  RPU_FN F flow(F w, M up, const Cell& c, F n) const { return affine.flow(w, up, c, n); }
  RPU_FN void moments(F& mean, F& variance, M up, const Cell& c) const { affine.moments(mean, variance, up, c); }
  RPU_FN PulseLaw pulse_law(F w, M up, const Cell& c) const { return affine.pulse_law(w, up, c); }
  RPU_FN WeightLaw after(F w, const PulseNumbers& n, const PulseLaw& up, const PulseLaw& down) const {
    return affine.after(w, n, up, down);
  }

  template <class Draws> RPU_FN void extra_fields(const Params& p, const F* base, const Draws& draw, F* out) const {
    F gamma_up = p.gamma_up + p.gamma_up_dtod * draw.normal(kDrawDevice);
    F gamma_down = p.gamma_down + p.gamma_down_dtod * draw.normal(kDrawDevice + 1);
    if (!p.allow_increasing) gamma_up = abs_(gamma_up), gamma_down = abs_(gamma_down);
    const F high = p.mean_bound_reference ? broadcast(p.w_max) : base[kMaxBound];
    const F low = p.mean_bound_reference ? broadcast(p.w_min) : base[kMinBound];
    out[0] = slope(gamma_up, base[kStepUp], p.reverse_up ? low - p.reverse_offset : high);
    out[1] = slope(gamma_down, base[kStepDown], p.reverse_down ? high + p.reverse_offset : low);
  }
};

RPU_END
