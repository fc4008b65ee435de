// Time-sliced IR drop: the ladders of all outputs of a tile as weights that are damped once per call.
#pragma once
#include "mvm.hpp"

namespace rpu {

/// Valid until the calling thread's next call.
struct SlicedArray {
  ConstMatrix weights;      // damped by the ladder
  const float* idle;        // [outputs] result per point in time with all inputs idle
  float counter_step;       // unit of the charge counter, or 0 without one
  const float* noise_weights;  // M2, M1 and M0 of the read noise that depends on the pulses, or null
  float noise_scale;           // of that noise, over kappa
};

SlicedArray slice_array(const Mvm& call);

}  // namespace rpu
