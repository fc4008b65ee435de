// From a learning rate to the length and the probabilities of pulse trains, for one sample (Gokmen and Vlasov,
// doi:10.3389/fnins.2016.00333; update management: Gokmen, Onen and Haensch, doi:10.3389/fnins.2017.00538).
//
//   BL slots, row i fires with probability A |d_i|, column j with B |x_j|, A B = lr / (g BL)
//   k = lr max|x| max|d| / g                      pulses that the largest element asks for
//   update-BL management   BL = min(ceil(k), desired_bl)
//   update management      A <- A sqrt(x_max / d_max), B <- B sqrt(d_max / x_max); where k > BL, the probability of the
//                          largest x stays at 1 (B = 1 / x_max) and those of d are clipped
// so that the expected number of pulses is lr |x_j d_i| / g. Plain floats.
#pragma once
#include <cfloat>
#include <cmath>

#include "../host_device.hpp"
#include "params.gen.hpp"

namespace rpu {

struct TrainPlan {
  int32_t length;  // slots; 0: this sample fires no pulses
  float x_scale, d_scale;
};

/// Whether the train grows with the learning rate instead of saturating at desired_bl slots.
RPU_BOTH bool grows_with_rate(const params::UpdateParameters& p, float lr, float granularity) {
  return !p.update_management && !p.update_bl_management && !p.fixed_bl &&
         granularity * static_cast<float>(p.desired_bl) < lr;
}

/// Upper limit of TrainPlan::length.
RPU_BOTH int64_t longest_train(const params::UpdateParameters& p, float lr, float granularity) {
  if (!grows_with_rate(p, lr, granularity)) return p.desired_bl;
  const float slots = std::ceil(lr / granularity);
  return slots < 1e9f ? static_cast<int64_t>(slots) : int64_t{1000000000};
}

RPU_BOTH TrainPlan plan_train(const params::UpdateParameters& p, float lr, float granularity, float x_max, float d_max) {
  const float longest = static_cast<float>(p.desired_bl);
  const bool manages_length = p.update_bl_management, manages = p.update_management || manages_length;
  if (x_max == 0.0f || d_max == 0.0f) return {0, 0.0f, 0.0f};

  float length = longest;
  const float d_balance = p.um_grad_scale * d_max;
  const float k = lr * x_max * d_balance / granularity;
  if (manages_length && k < longest) length = std::ceil(k);
  if (grows_with_rate(p, lr, granularity)) {
    return {static_cast<int32_t>(longest_train(p, lr, granularity)), 1.0f, 1.0f};
  }
  if (!(length > 0.0f)) return {0, 0.0f, 0.0f};  // the request underflows
  if (manages && k > longest) {                  // k may be infinite, the scales may not
    const float most = FLT_MAX;
    const float x_scale = (1.0f + FLT_EPSILON) / x_max;  // never below 1 after rounding
    const float d_scale = lr / (granularity * longest) * x_max;
    return {static_cast<int32_t>(longest), x_scale < most ? x_scale : most, d_scale < most ? d_scale : most};
  }

  const float scale = std::sqrt(lr / (granularity * length));
  if (!manages) return {static_cast<int32_t>(length), scale, scale};
  return {static_cast<int32_t>(length), scale * std::sqrt(d_balance / x_max), scale * std::sqrt(x_max / d_balance)};
}

}  // namespace rpu
