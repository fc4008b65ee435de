// Where the pulses of a cell come from, as a thread of the plugin reads them; see bodies/coincidences.hpp.
#pragma once
#include "../bodies/coincidences.hpp"

RPU_BEGIN

/// Stochastic trains. The words of a row are read where they are: the threads of a block share them in the cache.
struct RowTrains {
  const Coincidences& pulses;
  uint32_t flip;  // all ones for a negative learning rate
  int64_t n_words, row = 0;

  RPU_FN RowTrains(const Coincidences& p, bool negative_lr)
      : pulses(p), flip(negative_lr ? ~0u : 0u), n_words(p.n_words) {}

  RPU_FN void set_row(int64_t r) { row = r; }
  RPU_FN uint32_t slots(int64_t w) const { return pulses.d_fired[w * pulses.d_stride + row]; }

  RPU_FN void word(int64_t w, int64_t column, U& fired, U& up) const {
    fired = pulses.x_fired[w * pulses.x_stride + column] & slots(w);
    const uint32_t d_negative = pulses.d_negative[w * pulses.d_stride + row] ^ flip;
    up = fired & (pulses.x_negative[w * pulses.x_stride + column] ^ d_negative);
    drive_one_side(pulses, fired, up);
  }
};

/// Calls body with the tag of the source that these pulses come from.
template <class Body> void for_row_source(const Coincidences& pulses, Body&& body) {
  if (pulses.counts != nullptr) return body(SourceTag<CountSource>{});
  if (pulses.x_value != nullptr) return body(SourceTag<DeterministicSource>{});
  return body(SourceTag<RowTrains>{});
}

/// The pulses with the number of words that only the device knows.
RPU_FN Coincidences with_words(Coincidences pulses, const int64_t* slots) {
  if (slots != nullptr) pulses.n_words = (*slots + 31) / 32;
  return pulses;
}

RPU_END
