// Input path of one sample, in this order:
//
//   v = x scale,  quantise,  clip,  [part of the code],  v += inp_noise xi,  negative v times 1 - inp_asymmetry
#pragma once
#include "code_bits.hpp"
#include "converter.hpp"
#include "mvm_draws.hpp"

RPU_BEGIN

struct Dac {
  const IoSpec& io;
  CodeBits bits;  // which part of the code; mask 0: all of it
  Stream stream;

  RPU_FN Dac(const IoSpec& spec, const CodeBits& part)
      : io(spec), bits(part), stream(spec.backward ? Stream::BACKWARD_INPUT : Stream::FORWARD_INPUT) {}

  /// Converts the four packs v of one quad of the `inputs` inputs, as far as there are inputs.
  RPU_FN void operator()(F v[4], float scale, const Quad& quad, const SampleDraws& draws, int64_t inputs) const {
    quad.with_packs(inputs, [&](auto packs) { convert<packs()>(v, scale, quad, draws); });
  }

  /// The first kPacks packs of a quad.
  template <int kPacks> RPU_FN void convert(F v[4], float scale, const Quad& quad, const SampleDraws& draws) const {
    F rounding[4] = {}, xi[4] = {};
    if (io.dac.stochastic_rounding) draws.shared().rounding(quad, kInputRounding, rounding);
    if (io.inp_noise > 0.0f) draws.normals<kPacks>(quad, kInputNoise, xi);
    for (int k = 0; k < kPacks; ++k) v[k] = element(v[k], scale, rounding[k], xi[k]);
  }

  /// One pack with given random numbers.
  RPU_FN F element(F v, float scale, F rounding, F xi) const {
    v = clipped(quantised(v * scale, io.dac, rounding), io.dac);
    if (bits.mask != 0) v = part_of_code(v, bits, io.dac);
    return asymmetric(v + io.inp_noise * xi, io.inp_negative);
  }
};

RPU_END
