// Constants of the periphery that are drawn once per tile and direction.
//
//   out_noise_i = | out_noise (1 + out_noise_std xi_i) |
#pragma once
#include "../kernels_mvm.hpp"
#include "../rng.hpp"

RPU_BEGIN

/// Draw numbers of the streams FORWARD_CONSTANTS and BACKWARD_CONSTANTS.
enum ConstantDraw : uint32_t { kDrawVoltageOffset, kDrawNonlinearity, kDrawReadAsymmetry, kDrawOutNoise };

RPU_FN Stream constants_stream(const IoSpec& io) {
  return io.backward ? Stream::BACKWARD_CONSTANTS : Stream::FORWARD_CONSTANTS;
}

RPU_FN F drawn_out_noise(const IoSpec& io, F xi) { return abs_(io.out_noise * (1.0f + io.out_noise_std * xi)); }

RPU_END
