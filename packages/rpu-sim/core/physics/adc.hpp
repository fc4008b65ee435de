// Output path of one sample, in this order:
//
//   negative y times 1 - out_asymmetry,  y += s_i xi,  quantise,  clip and note whether the bound was exceeded
//
// s_i is out_noise, or the constant of the output when out_noise_std > 0.
#pragma once
#include "converter.hpp"
#include "mvm_draws.hpp"

RPU_BEGIN

struct Adc {
  const IoSpec& io;
  const float* out_noise;  // [outputs] or null
  int64_t outputs;
  Stream stream;

  RPU_FN Adc(const IoSpec& spec, const float* noise, int64_t n)
      : io(spec),
        out_noise(noise),
        outputs(n),
        stream(spec.backward ? Stream::BACKWARD_OUTPUT : Stream::FORWARD_OUTPUT) {}

  /// Standard deviations of the output noise from column `col` on.
  RPU_FN F sigma(int64_t col) const {
    return out_noise != nullptr ? load(out_noise + col, outputs - col) : broadcast(io.out_noise);
  }

  /// Converts the four packs y of one quad of outputs, as far as there are outputs; `exceeded` collects the lanes whose
  /// value was above the bound.
  RPU_FN void operator()(F y[4], const Quad& quad, const SampleDraws& draws, M& exceeded) const {
    quad.with_packs(outputs, [&](auto packs) { convert<packs()>(y, quad, draws, exceeded); });
  }

  /// The first kPacks packs of a quad.
  template <int kPacks> RPU_FN void convert(F y[4], const Quad& quad, const SampleDraws& draws, M& exceeded) const {
    convert<kPacks, 1>(reinterpret_cast<F(*)[4]>(y), quad, &draws, &exceeded);
  }

  /// The same for kSamples samples, whose random numbers are drawn side by side.
  template <int kPacks, int kSamples>
  RPU_FN void convert(F (*y)[4], const Quad& quad, const SampleDraws* draws, M* exceeded) const {
    F rounding[kSamples][4] = {}, xi[kSamples][4] = {};
    if (io.adc.stochastic_rounding)
      for (int i = 0; i < kSamples; ++i) draws[i].rounding(quad, kOutputRounding, rounding[i]);
    if (io.out_noise > 0.0f) normals_of_samples<kPacks, kSamples>(quad, draws, kOutputNoise, xi);
    for (int i = 0; i < kSamples; ++i)
      for (int k = 0; k < kPacks; ++k) {
        F v = quantised(asymmetric(y[i][k], io.out_negative) + sigma(quad.column(k)) * xi[i][k], io.adc, rounding[i][k]);
        const M high = v > io.adc.bound, low = v < -io.adc.bound;
        const M counts = io.test_negative_bound ? high | low : high;
        exceeded[i] |= counts & first_lanes(outputs - quad.column(k));
        y[i][k] = clipped(v, io.adc);
      }
  }
};

RPU_END
