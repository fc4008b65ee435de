// Power step: the step is a power of the distance to the bound, relative to the range R = b_max - b_min.
//
//   up    w <- w + s_up ((b_max - w) / R)^gamma_up (1 + sigma xi)
//   down  w <- w - s_dn ((w - b_min) / R)^gamma_down (1 + sigma xi)      both clipped to [b_min, b_max]
//
// The distance is limited to [0, R]; where R = 0 it is 0, and the bounds hold the weight. The exponents are drawn once for each cell:
//
//   gamma_up   = pow_gamma (min(pow_up_down, 0) + G + r)        G = 1 + pow_gamma_dtod xi
//   gamma_down = pow_gamma (-max(pow_up_down, 0) + G - r)       r = pow_up_down_dtod xi
#pragma once
#include "population.hpp"
#include "power.hpp"
#include "pulse_law.hpp"

RPU_BEGIN

struct PowerLawCell : Cell {
  F per_range, gamma_up, gamma_down;
};

RPU_FN PowerLawCell power_law_cell(const Cell& base, F gamma_up, F gamma_down) {
  const F range = base.b_max - base.b_min;
  return {base, select(range > 0.0f, 1.0f / range, broadcast(0.0f)), gamma_up, gamma_down};
}

/// The pulse of PowStep and PowStepReference.
struct PowerLawPulse {
  float sigma;

  /// To the bound that the pulse goes to.
  RPU_FN F distance(F w, M up, const PowerLawCell& c) const {
    return clip(select(up, c.b_max - w, w - c.b_min) * c.per_range, broadcast(0.0f), broadcast(1.0f));
  }
  RPU_FN F mean_step(F w, M up, const PowerLawCell& c) const {
    const F factor = pow_(distance(w, up, c), select(up, c.gamma_up, c.gamma_down));
    return select(up, c.s_up, -c.s_dn) * factor;
  }
  RPU_FN PulseLaw pulse_law(F w, M up, const PowerLawCell& c) const {
    const F away = distance(w, up, c), change = mean_step(w, up, c);
    const F bend = select(up, -c.gamma_up, c.gamma_down) * c.per_range * change / away;
    return proportional(change, select(away > 0.0f, bend, F{}), sigma);
  }
  RPU_FN F operator()(F w, M up, const PowerLawCell& c, F xi) const {
    return bounded(w + mean_step(w, up, c) * (1.0f + sigma * xi), c);
  }
};

template <class P> RPU_FN void draw_exponents(const P& p, const PopulationDraws& draw, F& gamma_up, F& gamma_down) {
  const F gain = 1.0f + p.pow_gamma_dtod * draw.normal(kDrawDevice);
  const F r = p.pow_up_down_dtod * draw.normal(kDrawDevice + 1);
  gamma_up = p.pow_gamma * (((p.pow_up_down < 0.0f ? p.pow_up_down : 0.0f) + gain) + r);
  gamma_down = p.pow_gamma * (((p.pow_up_down > 0.0f ? -p.pow_up_down : 0.0f) + gain) - r);
  if (p.enforce_consistency) gamma_up = abs_(gamma_up), gamma_down = abs_(gamma_down);
}

struct PowStep {
  using Params = params::PowStepDevice;
  using Cell = PowerLawCell;
  enum Extra { kGammaUp = kBaseFields, kGammaDown, kEnd };
  static constexpr int kExtraFields = kEnd - kBaseFields;
  static constexpr bool kStateIndependent = false;

  PowerLawPulse power;

  explicit PowStep(const Params& p) : power{p.dw_min_std} {}

  RPU_FN bool noisy() const { return power.sigma > 0.0f; }
  RPU_FN bool gaussian() const { return false; }

  template <class Read> RPU_FN Cell cell(const Read& read) const {
    return power_law_cell(read_cell(read), read(kGammaUp), read(kGammaDown));
  }

  RPU_FN F pulse(F w, M up, const Cell& c, F xi) const { return power(w, up, c, xi); }
  RPU_FN F mean_step(F w, M up, const Cell& c) const { return power.mean_step(w, up, c); }
  RPU_FN PulseLaw pulse_law(F w, M up, const Cell& c) const { return power.pulse_law(w, up, c); }
  RPU_FN void moments(F&, F&, M, const Cell&) const {}

  template <class Draws> RPU_FN void extra_fields(const Params& p, const F*, const Draws& draw, F* out) const {
    draw_exponents(p, draw, out[0], out[1]);
  }
};

RPU_END
