// Device-to-device variation of the parameters that all pulsed devices share.
#pragma once
#include "../rng.hpp"
#include "cell.hpp"

RPU_BEGIN

/// Draw numbers of the population stream.
enum PopulationDraw : uint32_t {
  kDrawMaxBound, kDrawMinBound, kDrawGain, kDrawAsymmetry, kDrawStuck, kDrawStuckValue, kDrawDiffusion, kDrawReset,
  kDrawLifetime, kDrawDriftNu, kDrawDevice = 16  // first draw of a device's own parameters
};

/// One pack of the population draws of a tile, by draw number.
struct PopulationDraws {
  const Quad& quad;
  Key key;
  int pack;

  RPU_FN F normal(uint32_t draw) const {
    F n[4];
    quad.normals(0, 0, Stream::POPULATION, draw, key, n);
    return n[pack];
  }
  RPU_FN F uniform(uint32_t draw) const {
    F u[4];
    quad.uniforms(0, 0, Stream::POPULATION, draw, key, u);
    return u[pack];
  }
};

/// Bounds     b_max = w_max (1 + w_max_dtod xi),  b_min = w_min (1 + w_min_dtod xi)
/// Gain       G = 1 + dw_min_dtod xi, or exp(dw_min_dtod xi) when log-normal, with dw_min_dtod xi - dw_min_dtod^2 / 2
///            where the mean is to be 1
/// Asymmetry  r = up_down_dtod xi
/// Steps      s_up = dw_min (min(up_down, 0) + G + r),  s_dn = dw_min (-max(up_down, 0) + G - r)
template <class P> RPU_FN Cell draw_bounds_and_steps(const P& p, const PopulationDraws& draw) {
  Cell c;
  c.b_max = p.w_max * (1.0f + p.w_max_dtod * draw.normal(kDrawMaxBound));
  c.b_min = p.w_min * (1.0f + p.w_min_dtod * draw.normal(kDrawMinBound));
  const F spread = p.dw_min_dtod * draw.normal(kDrawGain);
  const float excess = p.dw_min_dtod_mean_preserving ? 0.5f * (p.dw_min_dtod * p.dw_min_dtod) : 0.0f;
  const F gain = p.dw_min_dtod_log_normal ? exp_(spread - excess) : 1.0f + spread;
  const F r = p.up_down_dtod * draw.normal(kDrawAsymmetry);
  const float less_up = p.up_down < 0.0f ? p.up_down : 0.0f, less_down = p.up_down > 0.0f ? -p.up_down : 0.0f;
  c.s_up = p.dw_min * ((less_up + gain) + r);
  c.s_dn = p.dw_min * ((less_down + gain) - r);
  return c;
}

/// Steps are positive and 0 lies between the bounds; without consistency, crossed bounds pin the device midway.
RPU_FN Cell make_consistent(Cell c, bool enforce) {
  const M crossed = c.b_min > c.b_max;
  const F low = c.b_min, high = c.b_max;
  if (enforce) {
    c.s_up = abs_(c.s_up);
    c.s_dn = abs_(c.s_dn);
    c.b_max = abs_(select(crossed, low, high));
    c.b_min = -abs_(select(crossed, high, low));
  } else {
    const F middle = 0.5f * (low + high);
    c.b_max = select(crossed, middle, high);
    c.b_min = select(crossed, middle, low);
  }
  return c;
}

/// A stuck device does not move: both bounds equal a value drawn uniformly within its bounds and the corrupt range.
template <class P> RPU_FN Cell draw_stuck(const P& p, Cell c, const PopulationDraws& draw) {
  const float range = p.corrupt_devices_range;
  const M stuck = draw.uniform(kDrawStuck) < p.corrupt_devices_prob;
  const F lo = max_(c.b_min, broadcast(-range)), hi = min_(c.b_max, broadcast(range));
  const F value = lo + (hi - lo) * draw.uniform(kDrawStuckValue);
  const F zero = broadcast(0.0f);
  return {select(stuck, value, c.b_max), select(stuck, value, c.b_min), select(stuck, zero, c.s_up),
          select(stuck, zero, c.s_dn)};
}

/// Devices of the bias column are nominal and practically unbounded.
template <class P> RPU_FN Cell make_perfect(const P& p, Cell c, M bias) {
  return {select(bias, broadcast(100.0f * p.w_max), c.b_max), select(bias, broadcast(100.0f * p.w_min), c.b_min),
          select(bias, broadcast(p.dw_min), c.s_up), select(bias, broadcast(p.dw_min), c.s_dn)};
}

/// All base fields of a pack, into out[0 .. kBaseFields).
template <class P> RPU_FN void draw_base_fields(const P& p, const PopulationDraws& draw, M bias, F* out) {
  Cell c = make_consistent(draw_bounds_and_steps(p, draw), p.enforce_consistency);
  if (p.corrupt_devices_prob > 0.0f) c = draw_stuck(p, c, draw);
  if (p.perfect_bias) c = make_perfect(p, c, bias);
  out[kMaxBound] = c.b_max;
  out[kMinBound] = c.b_min;
  out[kStepUp] = c.s_up;
  out[kStepDown] = c.s_dn;

  out[kDiffusionRate] = broadcast(p.diffusion);
  if (p.diffusion_dtod > 0.0f)
    out[kDiffusionRate] = abs_(p.diffusion * (1.0f + p.diffusion_dtod * draw.normal(kDrawDiffusion)));
  out[kResetBias] = broadcast(p.reset);
  if (p.reset_dtod > 0.0f) out[kResetBias] = p.reset + p.reset_dtod * draw.normal(kDrawReset);

  out[kDecayScale] = broadcast(1.0f);
  if (p.lifetime > 0.0f) {
    F lifetime = broadcast(p.lifetime);
    if (p.lifetime_dtod > 0.0f) lifetime = p.lifetime * (1.0f + p.lifetime_dtod * draw.normal(kDrawLifetime));
    out[kDecayScale] = select(lifetime > 1.0f, 1.0f - 1.0f / lifetime, broadcast(0.0f));
  }
}

RPU_END
