// The passes of a product through the array: which weights and inputs each one reads, and how many buffers they need.
#pragma once
#include "mvm.hpp"

namespace rpu {

/// What the array needs for one call, whatever the samples. Empty for a plain product.
struct ArrayCall {
  ConstMatrix weights;           // what is read: those of the tile, or damped by the time-sliced IR drop
  ConstMatrix negative_weights;  // what inputs of a negative pass read
  const float* place;            // [inputs] 1 - (1 - j / n)^2 for the IR drop, or null
  float load_per_current;        // n / g_ratio
  float gain;                    // of the nonlinearity
  const float* idle;             // of SlicedArray, or null
  float counter_step;
  const float* noise_weights;
  float noise_scale;
};

ArrayCall prepare_array(const Mvm& call);

/// Values of a sample that are kept at the same time, over its number of inputs.
int64_t buffers_per_input(const ArraySpec& array);

/// Runs the DAC for `rows` samples (`dac.out` must hold one conversion) and arranges its results for all passes. The
/// result stays valid until the calling thread's next call.
const Pass* pass_inputs(const Mvm& call, const ArrayCall& array, DacArgs dac, int64_t rows);

}  // namespace rpu
