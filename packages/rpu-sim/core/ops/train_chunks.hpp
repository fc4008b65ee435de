// Samples of an update that are worked on at a time: a function of shapes and parameters only, so that results depend
// neither on the data nor on the back end.
#pragma once
#include <algorithm>
#include <cstdint>

#include "../kernels.hpp"
#include "../physics/pulse_management.hpp"

namespace rpu {

constexpr int64_t kLineGroup = 64;

inline int64_t padded(int64_t lines) { return (lines + kLineGroup - 1) / kLineGroup * kLineGroup; }

/// `highest_rate` is the largest learning rate of all samples.
inline int64_t samples_per_chunk(const params::UpdateParameters& parameters, float highest_rate, float granularity,
                                 int64_t inputs, int64_t outputs) {
  const int64_t lines = padded(inputs) + padded(outputs);
  const int64_t slots = std::min(kMaxChunkSlots, (int64_t{1} << 27) / lines);
  return std::max<int64_t>(1, slots / longest_train(parameters, highest_rate, granularity));
}

inline bool is_stochastic(params::PulseType type) {
  return type == params::PulseType::STOCHASTIC || type == params::PulseType::STOCHASTIC_COMPRESSED;
}

/// Resolutions of the values of both sides where pulses are not drawn.
struct LineResolutions {
  float x, d;
};

inline LineResolutions line_resolutions(const params::UpdateParameters& p) {
  if (p.pulse_type == params::PulseType::DETERMINISTIC_IMPLICIT) return {p.x_res_implicit, p.d_res_implicit};
  const bool mean_of_rounding = p.pulse_type == params::PulseType::MEAN_FIELD && p.sto_round;
  const float res = mean_of_rounding ? 0.0f : p.res;  // the mean of stochastic rounding is no rounding
  return {res, res};
}

}  // namespace rpu
