// Plain numbers of the array that effects need: see nonlinearity.hpp and ir_drop.hpp.
#pragma once
#include <cstdint>

#include "../host_device.hpp"
#include "../kernels_mvm.hpp"

namespace rpu {

/// F of the nonlinearity, with calibration; `mean` is that of nl_i over all outputs.
RPU_BOTH float calibrated_gain(const ArraySpec& array, double mean) {
  const double root = 1.0 + (mean + static_cast<double>(array.r_series)) * static_cast<double>(array.slope_calibration);
  return static_cast<float>(root * root);
}

/// 1 - (1 - j / n)^2 of input j.
RPU_BOTH float distance_factor(int64_t j, int64_t n) {
  const double near = 1.0 - static_cast<double>(j) / static_cast<double>(n);
  return static_cast<float>(1.0 - near * near);
}

}  // namespace rpu
