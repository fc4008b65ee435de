// Numbering of the random numbers of a matrix-vector product.
//
// Streams FORWARD_INPUT and BACKWARD_INPUT are indexed by groups of inputs, FORWARD_OUTPUT and BACKWARD_OUTPUT by
// groups of outputs (row 0 of a Quad); the second counter word is the global index of the sample, the third the call. The draw
// number holds the round of bound management, so that a sample does not depend on which others are repeated with it:
//
//   draw = 2^16 pass + kDrawsPerRound * round + kind
//
// Products of several passes number them; noise of a single conversion after an analog sum is that of pass 0.
#pragma once
#include "../kernels_mvm.hpp"
#include "../rng.hpp"

RPU_BEGIN

constexpr uint32_t kDrawsPerRound = 8;
enum InputDraw : uint32_t { kInputNoise, kInputRounding };
enum OutputDraw : uint32_t { kOutputNoise, kOutputRounding, kReadNoise, kPulseReadNoise };

/// The draws of one sample on one side of the crossbar.
struct SampleDraws {
  Key key;
  uint32_t sample, step, first_draw;
  Stream stream;

  SampleDraws() = default;
  RPU_FN SampleDraws(const MvmDraws& d, int64_t row, Stream s)
      : key(make_key(d.seed)),
        sample(d.first_sample + static_cast<uint32_t>(row)),
        step(d.step),
        first_draw((d.pass << 16) + d.round * kDrawsPerRound),
        stream(s) {}

  /// The draws that all passes of a product share.
  RPU_FN SampleDraws shared() const {
    SampleDraws first = *this;
    first.first_draw &= 0xffffu;
    return first;
  }
  /// Those of the first kPacks packs.
  template <int kPacks = 4> RPU_FN void normals(const Quad& quad, uint32_t kind, F out[4]) const {
    quad.normals<kPacks>(sample, step, stream, first_draw + kind, key, out);
  }
  /// What stochastic rounding adds before rint: uniform in [-1/2, 1/2).
  RPU_FN void rounding(const Quad& quad, uint32_t kind, F out[4]) const {
    quad.uniforms(sample, step, stream, first_draw + kind, key, out);
    for (int k = 0; k < 4; ++k) out[k] = out[k] - 0.5f;
  }
};

/// The first kPacks normals of a quad for each of kSamples samples of one call, drawn side by side.
template <int kPacks, int kSamples>
RPU_FN void normals_of_samples(const Quad& quad, const SampleDraws* draws, uint32_t kind, F (*out)[4]) {
  U w[4 * kSamples];
  for (int i = 0; i < kSamples; ++i)
    set_counter(quad.index, draws[i].sample, draws[i].step, draws[i].stream, broadcast(draws[i].first_draw + kind), w + 4 * i);
  philox4x32<kSamples>(w, draws[0].key);
  for (int i = 0; i < kSamples; ++i) {
    if constexpr (kPacks > 2) normal4(w + 4 * i, out[i]);
    else normal2(w[4 * i], w[4 * i + 1], out[i][0], out[i][1]);
  }
}

RPU_END
