// From a resolution to the levels of a converter. A resolution is a fraction of the full range 2 * bound; above 1 it
// is a number of steps; 0 or less is off, and so is any resolution of an infinite range.
#pragma once
#include <cfloat>
#include <cmath>

#include "../host_device.hpp"
#include "../kernels_mvm.hpp"

namespace rpu {

/// Steps of the full range, 0 without. A fraction in float32 stands for the whole number of steps that it is closest
/// to, so that 1/126 means the same as 126. Host code.
inline double steps_of(float resolution) {
  if (!(resolution > 0.0f)) return 0.0;
  const double steps = resolution > 1.0f ? resolution : 1.0 / resolution, whole = std::rint(steps);
  return std::fabs(steps - whole) <= 6e-8 * steps ? whole : steps;
}

RPU_BOTH Converter converter_of(double steps, float bound, bool stochastic_rounding) {
  if (!(bound > 0.0f) || bound > FLT_MAX) return {0.0f, 0.0f, INFINITY, false};
  if (!(steps > 0.0)) return {0.0f, 0.0f, bound, false};
  const double range = 2.0 * bound;
  return {static_cast<float>(range / steps), static_cast<float>(steps / range), bound, stochastic_rounding};
}

}  // namespace rpu
