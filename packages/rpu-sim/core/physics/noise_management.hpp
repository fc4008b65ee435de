// Noise management: the scale alpha of one input vector (Gokmen, Onen and Haensch, doi:10.3389/fnins.2017.00538).
// Plain floats.
//
//   ABS_MAX   max |x_j|, at most nm_thres if that is positive
//   MAX       max x_j, likewise
//   CONSTANT  nm_thres, or 1
//   AVERAGE_ABS_MAX  running mean r of the abs-max: the first vector sets it, then r <- (1 - decay) r + decay max |x|
//   ABS_MAX_NP_SUM   max(a, t), a = ABS_MAX, t = max(sum of positive, sum of |negative| x_j) assumed_wmax / out_bound,
//                    where t is at most a max_bm_res / (DAC step)
#pragma once
#include <cfloat>

#include "../host_device.hpp"
#include "../kernels_mvm.hpp"

namespace rpu {

constexpr float kAverageDecay = 1e-3f;
constexpr float kAssumedLargestWeight = 0.6f;

RPU_BOTH float limited(float scale, float limit) { return limit > 0.0f && scale > limit ? limit : scale; }

/// Scale for the worst case in which all outputs add up.
RPU_BOTH float worst_case_scale(const IoSpec& io, float abs_max, const SignedSums& sums) {
  const float a = limited(abs_max, io.nm_thres);
  const float bound = io.adc.bound > FLT_MAX ? 1.0f : io.adc.bound;
  const float most = sums.positive > sums.negative ? sums.positive : sums.negative;
  float t = most * kAssumedLargestWeight / bound;
  if (t > a * io.max_dac_reduction) t = a * io.max_dac_reduction;
  return a > t ? a : t;
}

/// Whether a scale can divide: below the smallest normal number, an input counts as zero.
RPU_BOTH bool scales(float alpha) { return alpha >= 1.17549435e-38f; }

/// The running mean after a vector; 0 stands for "no vector yet".
RPU_BOTH float running_mean(float mean, float abs_max) {
  return mean == 0.0f ? abs_max : (1.0f - kAverageDecay) * mean + kAverageDecay * abs_max;
}

}  // namespace rpu
