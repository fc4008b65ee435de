// Constants of the periphery and of the array that are drawn once per tile and direction.
//
//   out_noise_i      = | out_noise (1 + out_noise_std xi_i) |
//   nonlinearity_i   = | out_nonlinearity / B (1 + out_nonlinearity_std xi_i) |,  B the bound of the ADC, 1 without one
//   voltage_offset_i = max(v_offset_std xi_i, 0)
//   read_asymmetry_ij = 1 + w_read_asymmetry_dtod xi_ij,  a factor on the weight that negative inputs see
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

RPU_FN F drawn_nonlinearity(const ArraySpec& array, F xi) {
  return abs_(array.nonlinearity * (1.0f + array.nonlinearity_std * xi));
}

RPU_FN F drawn_voltage_offset(const ArraySpec& array, F xi) { return max_(array.v_offset_std * xi, F{}); }

RPU_FN F drawn_read_asymmetry(const ArraySpec& array, F xi) { return 1.0f + array.read_asymmetry * xi; }

RPU_END
