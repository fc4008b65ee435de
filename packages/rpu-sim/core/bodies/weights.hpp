// Modified copies, clipping and sums of a weight matrix; the loops around it are in cpu/ and cuda/.
#pragma once
#include "../kernels.hpp"
#include "../physics/weight_modifier.hpp"

RPU_BEGIN

/// One quad of a modified copy; `noise` as in ModifierDraws.
template <class Modifier>
RPU_FN void modify_quad(const ModifyArgs& args, const Modifier& modifier, Key key, int64_t row, const Quad& quad,
                        const F* noise = nullptr) {
  const float pdrop = args.parameters->pdrop;
  const int64_t cols = args.source.cols;
  const float* source = args.source.data + row * args.source.stride;
  float* out = args.out.data + row * args.out.stride;
  const ModifierDraws draw{quad, key, args.step, args.sample, noise};
  F w[4];
  for (int k = 0; k < 4; ++k) w[k] = load(source + quad.column(k), cols - quad.column(k));
  modifier(draw, w);
  if (pdrop > 0.0f) {
    F u[4];
    draw.uniforms(kModifierDrop, u);
    for (int k = 0; k < 4; ++k) w[k] = select(u[k] < pdrop, broadcast(0.0f), w[k]);
  }
  for (int k = 0; k < 4; ++k) store(out + quad.column(k), w[k], cols - quad.column(k));
}

template <class M> struct ModifierTag {
  using Modifier = M;
};

/// Calls body with the tag of the modifier of this type.
template <class Body> void for_modifier(params::WeightModifierType type, Body&& body) {
  using Type = params::WeightModifierType;
  switch (type) {
    case Type::NONE:
    case Type::COPY:
    case Type::DROP_CONNECT: return body(ModifierTag<Copy>{});
    case Type::DISCRETIZE: return body(ModifierTag<Discretize>{});
    case Type::MULT_NORMAL: return body(ModifierTag<MultNormal>{});
    case Type::ADD_NORMAL: return body(ModifierTag<AddNormal>{});
    case Type::DISCRETIZE_ADD_NORMAL: return body(ModifierTag<DiscretizeAddNormal>{});
    case Type::DOREFA: return body(ModifierTag<DoReFa>{});
    case Type::POLY: return body(ModifierTag<Poly>{});
    case Type::PCM_NOISE: return body(ModifierTag<PcmNoise>{});
    case Type::PROG_NOISE: return body(ModifierTag<ProgNoise>{});
  }
}

/// w * numerator / denominator, rounded once.
RPU_FN float rescaled(float w, double numerator, double denominator) {
  return static_cast<float>(w * numerator / denominator);
}

constexpr int kPartialSums = 16;

/// Partial sum number `part` of a row: columns part, part + 16, ...
RPU_FN double partial_moment(const float* w, int64_t cols, double mean, int power, int part) {
  double sum = 0.0;
  for (int64_t col = part; col < cols; col += kPartialSums) {
    const double distance = w[col] - mean;
    sum += power == 2 ? distance * distance : distance;
  }
  return sum;
}

RPU_END
