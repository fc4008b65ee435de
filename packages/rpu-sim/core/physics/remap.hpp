// Remapping of the weights of one output to the range of the devices, with a scale that keeps its product.
//
//   w <- w numerator / denominator = w remapped_wmax / max |w|,   scale <- scale max |w| / remapped_wmax
//
// Where the new scale would exceed a limit it becomes that limit and w <- w scale / limit. An output of zeros stays.
#pragma once
#include "../host_device.hpp"
#include "params.gen.hpp"

namespace rpu {

struct RowScale {
  double numerator, denominator;
  float scale;
};

/// `limit` 0 is none.
RPU_BOTH RowScale remapped_scale(const params::WeightRemapParameter& p, float largest, float limit, float scale) {
  if (!(largest > 0.0f)) return {1.0, 1.0, scale};
  const double old = scale, numerator = p.remapped_wmax, denominator = largest;
  const float remapped = static_cast<float>(old * denominator / numerator);
  if (limit > 0.0f && remapped > limit) return {old, limit, limit};
  return {numerator, denominator, remapped};
}

}  // namespace rpu
