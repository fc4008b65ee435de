// Voltage offset of an output and series resistance, both relative to the current of a reference device.
//
//   u_ref = -v_offset_w_min sum_j x_j,   g(u) = u / (1 + r_series |u|)
//   y_i <- (1 - v_i) g(y_i + u_ref) - (1 + v_i) g(u_ref)
//
// v_i is drawn once per output (output_constants.hpp). Without series resistance this is (1 - v_i) y_i - 2 v_i u_ref.
#pragma once
#include "../kernels_mvm.hpp"
#include "../lane.hpp"

RPU_BEGIN

RPU_FN F in_series(F u, float r_series) { return u / (1.0f + r_series * abs_(u)); }

/// `sum` is that of the inputs, `v` the offset.
RPU_FN F offset(F y, float sum, F v, const ArraySpec& array) {
  const F reference = broadcast(array.reference_weight * sum);
  return (1.0f - v) * in_series(y + reference, array.r_series) - (1.0f + v) * in_series(reference, array.r_series);
}

RPU_END
