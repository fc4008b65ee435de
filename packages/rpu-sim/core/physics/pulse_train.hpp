// From a value to the slots in which its line fires.
#pragma once
#include "../rng.hpp"

RPU_BEGIN

/// Probability of a pulse per slot: scale |v|, quantised to `resolution` if set. Values above 1 act as 1.
RPU_FN F pulse_probability(F value, float scale, float resolution, F rounding) {
  F p = abs_(value) * scale;
  if (resolution > 0.0f) p = resolution * rint_(p / resolution + rounding);
  return clip(p, broadcast(0.0f), broadcast(1.0f));
}

/// Probability as a 24-bit threshold. 1.0 becomes 2^24, which every 24-bit uniform is below.
RPU_FN I firing_threshold(F probability) { return to_i(probability * 16777216.0f); }

/// Lines fire where a fresh 24-bit uniform is below the threshold: one word of `draws` for one slot.
RPU_FN U fires(U word, I threshold) { return as_u(select(as_i(word >> 8) < threshold, I{} + 1, I{})); }

/// 32 slots at once: compares 32 uniforms bit by bit with the threshold, most significant bit first. A slot is decided
/// at the first bit in which its uniform differs, so on average a few words settle all slots.
struct SlicedSlots {
  U fired, undecided;
  I threshold;

  RPU_FN explicit SlicedSlots(I t) : threshold(t) {
    const M certain = t >= 16777216, never = t <= 0;
    fired = as_u(select(certain, I{} - 1, I{}));
    undecided = as_u(select(certain | never, I{}, I{} - 1));
  }
  RPU_FN void compare(U word, int bit) {
    const U ones = as_u(I{} - ((threshold >> bit) & 1));  // all ones where the bit of the threshold is set
    fired |= undecided & ones & ~word;
    undecided &= ~(word ^ ones);
  }
};

constexpr int kDirectSlots = 8;  // trains up to this length draw one uniform per slot

RPU_END
