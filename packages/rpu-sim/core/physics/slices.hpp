// The array of the time-sliced IR drop: which segment of its ladder an input belongs to, and what its weights become.
// Inputs are in the middle of the physical array; the ADCs of neighbouring outputs are at either end. In double.
#pragma once
#include <cmath>
#include <cstdint>

#include "../host_device.hpp"
#include "../kernels_mvm.hpp"

namespace rpu {

constexpr double kReadStep = 0.2, kIdleVoltage = 0.4;  // V

/// Conductance per unit of weight (uS).
RPU_BOTH double conductance_scale(const TimeSlices& slices, float largest) {
  const double range = static_cast<double>(slices.g_max) - static_cast<double>(slices.g_min);
  return range / (largest > 0.0f ? static_cast<double>(largest) : 1.0);
}

/// Segment of input j of `inputs`, for even and for odd outputs.
RPU_BOTH int32_t segment_of_input(const TimeSlices& slices, int64_t per_segment, int64_t inputs, int64_t j, bool odd) {
  const int64_t physical = per_segment * slices.segments, before = (physical - inputs) / 2;
  return static_cast<int32_t>((odd ? physical - 1 - before - j : before + j) / per_segment);
}

/// Conductance of both devices of a weight.
RPU_BOTH double pair_conductance(const TimeSlices& slices, double kappa, float w) {
  return kappa * std::fabs(static_cast<double>(w)) + 2.0 * static_cast<double>(slices.g_min);
}

/// Result per point in time with all inputs idle; r is the resistance of the ladder.
RPU_BOTH float idle_result(const TimeSlices& slices, double kappa, double r) {
  const double offset = kIdleVoltage - static_cast<double>(slices.v_read);
  return static_cast<float>(offset / (r * kReadStep * kappa));
}

/// M2, M1 and M0 of pulse_read_noise.hpp for a weight that the ladder damps by a; their matrices lie `size` apart.
RPU_BOTH void set_noise_weights(double kappa, double a, float w, float* here, int64_t size) {
  const double g = kappa * std::fabs(static_cast<double>(w));
  here[0] = static_cast<float>(a * g * (a * g));
  here[size] = static_cast<float>(2.0 * (a * a) * g);
  here[2 * size] = static_cast<float>(g > 0.0 ? a * a : 0.0);
}

/// Unit of the charge counter, or 0 without one.
RPU_BOTH float charge_step(const TimeSlices& slices, double kappa, float dac_step) {
  const double unit = static_cast<double>(slices.charge_unit) / (kReadStep * kappa);
  return static_cast<float>(unit * static_cast<double>(dac_step));
}

RPU_BOTH float pulse_noise_scale(const TimeSlices& slices, double kappa) {
  return static_cast<float>(static_cast<double>(slices.read_noise) / kappa);
}

}  // namespace rpu
