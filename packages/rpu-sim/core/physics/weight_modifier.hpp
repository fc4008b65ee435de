// Modified copies of weights for hardware-aware training: the network computes with a copy as the hardware would hold it,
// and learns to bear it (Rasch et al., Nat. Commun. 14, 5282 (2023), doi:10.1038/s41467-023-40770-4).
//
// A = max |w| or an assumed value, s = std_dev, xi a fresh standard normal, Q_R the grid of `res` over +-R.
//
//   DISCRETIZE            w' = Q_A(w)
//   ADD_NORMAL            w' = w + s A xi
//   DISCRETIZE_ADD_NORMAL w' = Q_A(w) + s A xi
//   MULT_NORMAL           w' = w (1 + s xi)
//   DOREFA                w' = Q_c(tanh(w) c / tanh(A)),  c = dorefa_clip  (Zhou et al. 2016, arXiv:1606.06160)
//   POLY                  w' = w + A sigma(|w| / A) xi,   sigma(a) = s (c_0 + c_1 a + c_2 a^2 + ...)
//   PROG_NOISE            the same with c_k / g_max, and the sign of w kept: w' = sgn(w) |...|; w = 0 keeps both signs
//   PCM_NOISE             below
//   all but NONE          then w' = 0 with probability pdrop
//
// PCM_NOISE is one pair of phase-change devices per weight, g = w / A in [-1, 1], sigma(a) the measured programming noise
// and drift around its compensated mean (Nandakumar et al. 2019, doi:10.3389/fnins.2019.00406; Joshi et al. 2020,
// doi:10.1038/s41467-020-16108-9; the noise model of the inference package has the same numbers):
//
//   events       |g| <= pcm_zero_thres sigma(0): g = 0;  with given probabilities: g = 0;  one device of the pair stuck at
//                its maximum, g = clip(g +- 1, -1, 1);  a uniform magnitude with the sign of g
//   programming  g_P = g + sigma(|g|) xi,                                     r = |g_P|
//   drift        g_D = g_P exp(-nu ln(t / t_0)),   nu = |xi clip(-0.0125 ln r - 0.0059, 0.008, 0.045)|
//   read         g_R = g_D + s S |g_D| q xi,   q = min(0.0088 / max(r^0.65, 0.001), 0.2),   S = sqrt(ln((t + t_r) / (2 t_r)))
//   result       w' = sgn(g) |g_R| A;  g = 0 was not programmed and stays 0
#pragma once
#include "../kernels_weights.hpp"
#include "../rng.hpp"
#include "converter.hpp"

RPU_BEGIN

/// Draw numbers of the stream WEIGHT_MODIFIER.
enum ModifierDraw : uint32_t {
  kModifierNoise, kModifierRounding, kModifierDrop, kModifierAtReset, kModifierAtGmax, kModifierAtRandom,
  kModifierRandomValue, kModifierDrift, kModifierRead
};

/// The draws of one quad of cells.
struct ModifierDraws {
  const Quad& quad;
  Key key;
  uint32_t step, sample;
  const F* noise;  // four normals of kModifierNoise that were drawn with those of other quads, or null

  RPU_FN void words(ModifierDraw draw, U out[4]) const {
    quad.words(sample, step, Stream::WEIGHT_MODIFIER, draw, key, out);
  }
  RPU_FN void normals(ModifierDraw draw, F out[4]) const {
    if (draw == kModifierNoise && noise != nullptr) {
      for (int k = 0; k < 4; ++k) out[k] = noise[k];
      return;
    }
    quad.normals(sample, step, Stream::WEIGHT_MODIFIER, draw, key, out);
  }
  RPU_FN void uniforms(ModifierDraw draw, F out[4]) const {
    quad.uniforms(sample, step, Stream::WEIGHT_MODIFIER, draw, key, out);
  }
};

/// sigma(a) by Horner's rule.
RPU_FN F noise_polynomial(const ModifyArgs& m, F a) {
  F value = broadcast(m.noise[m.n_noise - 1]);
  for (int k = m.n_noise - 2; k >= 0; --k) value = value * a + m.noise[k];
  return value;
}

/// 1 or -1 from the lowest bit, which uniform numbers do not use.
RPU_FN F sign_of_word(U word) { return bits_to_f((word << 31) | 0x3f800000u); }

// -- modifiers: change four packs in place --------------------------------------------------------------------------

struct Copy {
  static constexpr bool kDrawsNoise = false;  // whether it draws the normals of kModifierNoise
  RPU_FN explicit Copy(const ModifyArgs&) {}
  RPU_FN void operator()(const ModifierDraws&, F*) const {}
};

struct Discretize {
  static constexpr bool kDrawsNoise = false;
  Converter grid;

  RPU_FN explicit Discretize(const ModifyArgs& m) : grid(m.grid) {}

  RPU_FN void operator()(const ModifierDraws& draw, F w[4]) const {
    F rounding[4] = {};
    if (grid.stochastic_rounding) {
      draw.uniforms(kModifierRounding, rounding);
      for (int k = 0; k < 4; ++k) rounding[k] = rounding[k] - 0.5f;
    }
    for (int k = 0; k < 4; ++k) w[k] = quantised(w[k], grid, rounding[k]);
  }
};

struct AddNormal {
  static constexpr bool kDrawsNoise = true;
  float sigma;

  RPU_FN explicit AddNormal(const ModifyArgs& m) : sigma(m.parameters->std_dev * m.a_max) {}

  RPU_FN void operator()(const ModifierDraws& draw, F w[4]) const {
    F xi[4];
    draw.normals(kModifierNoise, xi);
    for (int k = 0; k < 4; ++k) w[k] = w[k] + sigma * xi[k];
  }
};

struct DiscretizeAddNormal {
  static constexpr bool kDrawsNoise = true;
  Discretize discretize;
  AddNormal add;

  RPU_FN explicit DiscretizeAddNormal(const ModifyArgs& m) : discretize(m), add(m) {}

  RPU_FN void operator()(const ModifierDraws& draw, F w[4]) const {
    discretize(draw, w);
    add(draw, w);
  }
};

struct MultNormal {
  static constexpr bool kDrawsNoise = true;
  float std_dev;

  RPU_FN explicit MultNormal(const ModifyArgs& m) : std_dev(m.parameters->std_dev) {}

  RPU_FN void operator()(const ModifierDraws& draw, F w[4]) const {
    F xi[4];
    draw.normals(kModifierNoise, xi);
    for (int k = 0; k < 4; ++k) w[k] = w[k] * (1.0f + std_dev * xi[k]);
  }
};

struct DoReFa {
  static constexpr bool kDrawsNoise = false;
  Discretize discretize;
  F factor;

  RPU_FN explicit DoReFa(const ModifyArgs& m)
      : discretize(m), factor(m.parameters->dorefa_clip / tanh_(broadcast(m.a_max))) {}

  RPU_FN void operator()(const ModifierDraws& draw, F w[4]) const {
    for (int k = 0; k < 4; ++k) w[k] = tanh_(w[k]) * factor;
    discretize(draw, w);
  }
};

struct Poly {
  static constexpr bool kDrawsNoise = true;
  const ModifyArgs& m;

  RPU_FN explicit Poly(const ModifyArgs& args) : m(args) {}

  RPU_FN void operator()(const ModifierDraws& draw, F w[4]) const {
    F xi[4];
    draw.normals(kModifierNoise, xi);
    for (int k = 0; k < 4; ++k) w[k] = w[k] + m.a_max * (noise_polynomial(m, abs_(w[k]) / m.a_max) * xi[k]);
  }
};

struct ProgNoise {
  static constexpr bool kDrawsNoise = true;
  Poly poly;

  RPU_FN explicit ProgNoise(const ModifyArgs& m) : poly(m) {}

  RPU_FN void operator()(const ModifierDraws& draw, F w[4]) const {
    const F given[4] = {w[0], w[1], w[2], w[3]};
    poly(draw, w);
    for (int k = 0; k < 4; ++k) w[k] = select(given[k] == 0.0f, w[k], copysign_(w[k], given[k]));
  }
};

struct PcmNoise {
  static constexpr bool kDrawsNoise = true;
  const ModifyArgs& m;
  const params::WeightModifierParameter& p;

  RPU_FN explicit PcmNoise(const ModifyArgs& args) : m(args), p(*args.parameters) {}

  RPU_FN void events(const ModifierDraws& draw, F g[4]) const {
    const F zero = broadcast(0.0f), one = broadcast(1.0f);
    const float threshold = p.pcm_zero_thres * m.noise[0];
    for (int k = 0; k < 4; ++k) g[k] = select(abs_(g[k]) <= threshold, zero, g[k]);
    U word[4];
    F u[4];
    if (p.pcm_prob_at_reset > 0.0f) {
      draw.uniforms(kModifierAtReset, u);
      for (int k = 0; k < 4; ++k) g[k] = select(u[k] < p.pcm_prob_at_reset, zero, g[k]);
    }
    if (p.pcm_prob_at_gmax > 0.0f) {
      draw.words(kModifierAtGmax, word);
      for (int k = 0; k < 4; ++k)
        g[k] = select(uniform(word[k]) < p.pcm_prob_at_gmax, clip(g[k] + sign_of_word(word[k]), -one, one), g[k]);
    }
    if (p.pcm_prob_at_random > 0.0f) {
      draw.words(kModifierAtRandom, word);
      draw.uniforms(kModifierRandomValue, u);
      for (int k = 0; k < 4; ++k) {
        const F sign = select(g[k] == 0.0f, sign_of_word(word[k]), g[k]);
        g[k] = select(uniform(word[k]) < p.pcm_prob_at_random, copysign_(u[k], sign), g[k]);
      }
    }
  }

  RPU_FN void operator()(const ModifierDraws& draw, F w[4]) const {
    const F a_max = broadcast(m.a_max);
    F g[4], programming[4], drift[4] = {}, read[4];
    for (int k = 0; k < 4; ++k) g[k] = clip(w[k], -a_max, a_max) / a_max;
    events(draw, g);
    draw.normals(kModifierNoise, programming);
    if (m.log_time > 0.0f) draw.normals(kModifierDrift, drift);
    draw.normals(kModifierRead, read);
    for (int k = 0; k < 4; ++k) {
      const F programmed = g[k] + noise_polynomial(m, abs_(g[k])) * programming[k];
      const F log_r = log_(max_(abs_(programmed), broadcast(1e-6f)));
      F drifted = programmed;
      if (m.log_time > 0.0f) {
        const F spread = clip(-0.0125f * log_r - 0.0059f, broadcast(0.008f), broadcast(0.045f));
        drifted = programmed * exp_(abs_(spread * drift[k]) * -m.log_time);
      }
      const F q = min_(0.0088f / max_(exp_(log_r * 0.65f), broadcast(1e-3f)), broadcast(0.2f));
      const F seen = drifted + m.read_noise * (abs_(drifted) * q) * read[k];
      w[k] = select(g[k] == 0.0f, broadcast(0.0f), copysign_(seen * m.a_max, g[k]));
    }
  }
};

RPU_END
