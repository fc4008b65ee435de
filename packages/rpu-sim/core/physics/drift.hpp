// Power-law drift (Karpov et al., doi:10.1063/1.2752544 give the law for phase-change cells).
//
//   tau = max(age, 1)                                  time since the cell was written, in units of t_0
//   w   = w_0 tau^-nu + a (tau^-nu - 1)                a = g_offset wg_ratio + w_offset, 0 if |a| < reset_tol
//   nu  <- nu (1 + nu_std xi)                          if nu_std > 0
//   nu  <- nu - nu_k (log(g) - log_g0)                 if nu_k != 0, g = max((w - w_offset) / wg_ratio + g_offset, 1e-6)
//   w  <- w + w_noise_std xi,  clipped to the bounds
//
// A cell whose weight changed by more than reset_tol since the last call counts as written: its age starts at 0 with
// this call and w_0 is the weight as it is. Decay and diffusion do not count: what they change is divided by tau^-nu and
// added to w_0, so that it stays. The first call of all drifts from age 0 to its own duration.
#pragma once
#include "../rng.hpp"
#include "power.hpp"

RPU_BEGIN

/// Draw numbers of the stream DRIFT.
enum DriftDraw : uint32_t { kDrawDriftExponent, kDrawDriftNoise };

constexpr float kLeastConductance = 1e-6f;

/// What a cell remembers: time since it was written (below 0 before the first call), weight then, weight last seen.
struct DriftMemory {
  F age, start, seen;
};

struct Drift {
  float tolerance, nu_std, noise, ratio, g_offset, w_offset, nu_k, log_g0, offset;

  explicit Drift(const params::DriftParameter& p)
      : tolerance(p.reset_tol), nu_std(p.nu_std), noise(p.w_noise_std), ratio(p.wg_ratio), g_offset(p.g_offset),
        w_offset(p.w_offset), nu_k(p.nu_k), log_g0(p.log_g0), offset(p.g_offset * p.wg_ratio + p.w_offset) {
    if ((offset < 0.0f ? -offset : offset) < p.reset_tol) offset = 0.0f;
  }

  RPU_FN M written(F w, const DriftMemory& m) const { return (m.age >= 0.0f) & (abs_(m.seen - w) > tolerance); }

  /// tau^-nu of a cell at weight w.
  RPU_FN F factor(F w, F age, F nu) const {
    if (nu_k != 0.0f) {
      const F g = max_((w - w_offset) / ratio + g_offset, broadcast(kLeastConductance));
      nu = nu - nu_k * (log_(g) - log_g0);
    }
    return exp_(-nu * log_(max_(age, broadcast(1.0f))));
  }

  /// The weight after `duration` more units of t_0, before the clip.
  RPU_FN F drifted(F w, DriftMemory& m, F nu, float duration, F xi_nu, F xi_noise) const {
    const M first = m.age < 0.0f, anew = written(w, m);
    m.age = select(anew, broadcast(0.0f), select(first, broadcast(duration), m.age + duration));
    m.start = select(first | anew, w, m.start);
    if (nu_std > 0.0f) nu = nu * (1.0f + nu_std * xi_nu);
    const F f = factor(w, m.age, nu);
    const F moved = select(anew, w, m.start * f + offset * (f - 1.0f));
    return noise > 0.0f ? moved + noise * xi_noise : moved;
  }

  /// Takes over a change from `before` to `w` by a process that is no write.
  RPU_FN void follow(F before, F w, DriftMemory& m, F nu) const {
    const M follows = (m.age >= 0.0f) & (abs_(m.seen - before) <= tolerance);
    m.start = select(follows, m.start + (w - before) / factor(before, m.age, nu), m.start);
    m.seen = select(follows, w, m.seen);
  }
};

RPU_END
