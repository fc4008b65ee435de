#include "io_spec.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace rpu {
namespace {

using params::AnalogMVType;
using params::BoundManagementType;
using params::NoiseManagementType;

constexpr float kInfinity = std::numeric_limits<float>::infinity();

/// Steps of the full range. A fraction in float32 stands for the whole number of steps that it is closest to, so that 1/126
/// means the same as 126.
double steps_of(float resolution) {
  const double steps = resolution > 1.0f ? resolution : 1.0 / resolution, whole = std::rint(steps);
  return std::fabs(steps - whole) <= 6e-8 * steps ? whole : steps;
}

}  // namespace

Converter make_converter(float resolution, float bound, bool stochastic_rounding) {
  if (!(bound > 0.0f) || std::isinf(bound)) return {0.0f, 0.0f, kInfinity, false};
  if (!(resolution > 0.0f)) return {0.0f, 0.0f, bound, false};
  const double steps = steps_of(resolution), range = 2.0 * bound;
  return {static_cast<float>(range / steps), static_cast<float>(steps / range), bound, stochastic_rounding};
}

namespace {

/// Neutral values: the product times out_scale.
IoSpec perfect(float out_scale, bool backward) {
  IoSpec io{};
  io.backward = backward;
  io.noise_management = NoiseManagementType::NONE;
  io.bound_management = BoundManagementType::NONE;
  io.dac = io.adc = make_converter(0.0f, 0.0f, false);
  io.inp_negative = io.out_negative = 1.0f;
  io.out_scale = out_scale;
  io.max_dac_reduction = io.max_reduction = kInfinity;
  return io;
}

}  // namespace

IoSpec make_io_spec(const params::IOParameters& p, bool backward) {
  IoSpec io = perfect(p.out_scale, backward);
  if (p.is_perfect || p.mv_type == AnalogMVType::IDEAL) return io;
  io.noise_management = p.noise_management;
  if (!backward) io.bound_management = p.bound_management;
  io.dac = make_converter(p.inp_res, p.inp_bound, p.inp_sto_round);
  io.adc = make_converter(p.out_res, p.out_bound, p.out_sto_round);
  io.inp_noise = p.inp_noise;
  io.inp_negative = 1.0f - p.inp_asymmetry;
  io.out_noise = p.out_noise;
  io.out_noise_std = p.out_noise_std;
  io.out_negative = 1.0f - p.out_asymmetry;
  io.nm_thres = p.noise_management == NoiseManagementType::NONE ? 0.0f : p.nm_thres;
  if (io.dac.step > 0.0f) io.max_dac_reduction = p.max_bm_res / io.dac.step;
  io.max_reduction = std::min(static_cast<float>(p.max_bm_factor), io.max_dac_reduction);
  io.test_negative_bound = p.bm_test_negative_bound;
  return io;
}

}  // namespace rpu
