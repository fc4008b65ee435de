// What is done with one element of the digital arrays between the devices of a cell; the loops around it are in ops/ and
// cuda/.
#pragma once
#include <cfloat>
#include <cmath>

#include "../host_device.hpp"
#include "../views.hpp"

namespace rpu {

/// Rules of the buffer of TTv2 (Gokmen, doi:10.3389/frai.2021.699148) and of its chopped and dynamic forms (Rasch et
/// al., doi:10.1038/s41467-024-51221-z).
struct BufferRule {
  float threshold;    // of one step
  float most_steps;   // cap of the steps of one read
  float kept;         // share of the buffer that stays when a step is taken
  bool forgets;       // only that share stays; else also what was not taken
  bool keeps;         // false: every read starts from an empty buffer
  float cap;          // of the buffer, 0: none
  float mean_weight;  // of a new read in the running mean
};

/// One slice of n elements. `mean` and `past` are null unless the zero of the source is measured.
struct BufferedSlice {
  int64_t n;
  const float* read;
  float gain;             // per read, with the sign of the slice
  const float* out_sign;  // of each element
  bool starts_phase;      // the running mean becomes the zero from here on
  float *buffer, *mean, *past;
  float* steps;           // out: whole numbers
};

RPU_BOTH float within(float value, float limit) {
  return value < -limit ? -limit : limit < value ? limit : value;
}

/// Adds element i of a read to the buffer, and takes the steps out of it, which it returns.
RPU_BOTH float take_step(const BufferRule& rule, const BufferedSlice& s, int64_t i) {
  float value = s.read[i];
  if (s.past != nullptr) {
    if (s.starts_phase) s.past[i] = s.mean[i];
    value = value - s.past[i];
    s.mean[i] = (1.0f - rule.mean_weight) * s.mean[i] + rule.mean_weight * s.read[i];
  }
  const float gathered = within((rule.keeps ? s.buffer[i] : 0.0f) + s.gain * (s.out_sign[i] * value), FLT_MAX);
  const float steps = within(truncf(gathered / rule.threshold), rule.most_steps);
  float left = gathered;
  if (steps != 0.0f) left = rule.forgets ? rule.kept * gathered : gathered - ((1.0f - rule.kept) * steps) * rule.threshold;
  if (rule.cap > 0.0f) left = within(left, rule.cap);
  s.buffer[i] = left;
  return s.steps[i] = steps;
}

/// Whether a row is among the n that begin at `first` and wrap around.
RPU_BOTH bool is_row_of_turn(int64_t row, int64_t first, int64_t n, int64_t rows) {
  return (row - first + rows) % rows < n;
}

}  // namespace rpu
