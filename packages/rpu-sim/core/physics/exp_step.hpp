// Exponential step, as fitted to ReRAM (Gong et al., doi:10.1038/s41467-018-04485-1 gives the measured devices).
//
//   z = 2 a w / (b_max - b_min) + b
//   y_up = max(1 - A_up exp(gamma_up z), 0),   y_dn = max(1 - A_down exp(-gamma_down z), 0)
//   delta = y_up s_up  or  -y_dn s_dn
//   w <- w + delta (1 + sigma xi)                                                       simple noise
//   w <- w + delta + sigma (|delta| + dw_min_std_add + dw_min_std_slope |w|) xi         otherwise
// clipped to [b_min, b_max]. Where y = 0 the pulse has no effect, noise included. Nothing moves if b_max <= b_min.
//
// The exponential term e = 1 - y follows a logistic law in the limit of many small pulses n:
//   w <- w +- -log(e + (1 - e) exp(-q)) / r,   r = 2 a gamma / (b_max - b_min),   q = r s n
#pragma once
#include "pulse_law.hpp"

RPU_BEGIN

constexpr float kLog2E = 1.44269504f;

struct ExpStep {
  using Params = params::ExpStepDevice;
  struct Cell : RPU_LEVEL::Cell {
    F z_per_weight;
  };
  static constexpr int kExtraFields = 0;
  static constexpr bool kStateIndependent = false;
  static constexpr bool kMoments = true;

  float sigma, add, slope;
  float A_up, A_down, gamma_up, gamma_down, a, b;

  explicit ExpStep(const Params& p)
      : sigma(p.dw_min_std), add(p.dw_min_std_add), slope(p.dw_min_std_slope), A_up(p.A_up), A_down(p.A_down),
        gamma_up(p.gamma_up), gamma_down(p.gamma_down), a(p.a), b(p.b) {}

  RPU_FN bool noisy() const { return sigma > 0.0f; }
  RPU_FN bool gaussian() const { return false; }

  template <class Read> RPU_FN Cell cell(const Read& read) const {
    const auto base = read_cell(read);
    const F range = base.b_max - base.b_min;
    return {base, select(range > 0.0f, (2.0f * a) / range, broadcast(0.0f))};
  }

  RPU_FN F pulse(F w, M up, const Cell& c, F xi) const {
    const F z = c.z_per_weight * w + b;
    const F amplitude = select(up, broadcast(A_up), broadcast(A_down));
    const F exponent = select(up, broadcast(gamma_up), broadcast(-gamma_down)) * z;
    const F y = max_(1.0f - amplitude * exp_(exponent), broadcast(0.0f));
    const F delta = y * select(up, c.s_up, -c.s_dn);
    const F amount = add == 0.0f && slope == 0.0f ? delta : abs_(delta) + (add + slope * abs_(w));
    const F moved = bounded(w + (delta + amount * (sigma * xi)), c);
    return select((y > 0.0f) & (c.b_max > c.b_min), moved, w);
  }

  RPU_FN F flow(F w, M up, const Cell& c, F n) const {
    const F gamma = select(up, broadcast(gamma_up), broadcast(gamma_down));
    const F z = c.z_per_weight * w + b;
    const F e = select(up, broadcast(A_up), broadcast(A_down)) * exp_(select(up, gamma, -gamma) * z);
    const F rate = gamma * c.z_per_weight, way = select(up, c.s_up, c.s_dn) * n, q = rate * way;
    const F grown = e * expm1_ratio(q);
    const F near = way * (1.0f - grown * log1p_ratio(q * grown));  // the same, without cancellation for small q
    const F far = -log_(max_(e + (1.0f - e) * exp_(-q), broadcast(1.17549435e-38f))) / rate;
    const F moved = select(abs_(q) <= 1.0f, near, far);
    return select((e < 1.0f) & (c.b_max > c.b_min), bounded(w + select(up, moved, -moved), c), w);
  }

  /// The exponential term as a power of two, which costs less; nothing moves where it exceeds 1.
  RPU_FN PulseLaw pulse_law(F w, M up, const Cell& c) const {
    const F rate = select(up, broadcast(gamma_up), broadcast(-gamma_down));
    const F e = select(up, broadcast(A_up), broadcast(A_down)) *
                exp2_((rate * kLog2E * c.z_per_weight) * w + rate * kLog2E * b);
    const M moves = (e < 1.0f) & (c.b_max > c.b_min);
    const F step = select(moves, select(up, c.s_up, -c.s_dn), F{});
    const F change = step - e * step, bend = -(rate * c.z_per_weight) * (e * step);
    // The parts of the noise that do not scale with the step, with its sign.
    const F own = select(moves, sigma * add + (sigma * slope) * abs_(w), F{});
    const F own_bend = select(moves, broadcast(sigma * slope), F{});
    return {change, change * sigma + copysign_(own, step), bend, bend * sigma + copysign_(own_bend, step * w)};
  }

  /// Mean and variance after one more pulse, with the step linearised around the mean.
  RPU_FN void moments(F& mean, F& variance, M up, const Cell& c) const {
    propagate(pulse_law(mean, up, c), mean, variance);
  }

  template <class Draws> RPU_FN void extra_fields(const Params&, const F*, const Draws&, F*) const {}
};

RPU_END
