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

RPU_END
