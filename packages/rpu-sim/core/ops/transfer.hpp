// The digital buffer between two arrays: what is read from one gathers until it is worth a step of the other.
#pragma once
#include <cstdint>

#include "../bodies/transfer.hpp"

namespace rpu {

/// Adds a read to the buffer and takes the steps out of it; returns whether there are any.
bool take_steps(const BufferRule& rule, const BufferedSlice& slice);

/// The buffer of one transfer: its rule, and borrowed arrays [slices, elements]. `mean` and `past` as for a slice.
struct TransferBuffer {
  BufferRule rule;
  int64_t elements;
  float* data;            // null: there is none
  const float* out_sign;  // [elements]
  float *mean, *past;

  bool take(int64_t slice, const float* read, float gain, bool starts_phase, float* steps) const {
    const auto row = [&](float* array) { return array == nullptr ? nullptr : array + slice * elements; };
    return take_steps(rule, {elements, read, gain, out_sign, starts_phase, row(data), row(mean), row(past), steps});
  }
};

/// Takes whole steps out of rows of an accumulator, see WholeStepArgs; returns the largest number of them.
int32_t take_whole_steps(const Matrix& chi, float threshold, float most, int64_t first, int64_t n, int32_t* counts);

}  // namespace rpu
