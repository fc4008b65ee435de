// The pulses of cells as one queue of signs per lane, oldest first: however the pulses of the cells are spread over the
// slots of a batch, pulse p of every lane is then processed at the same time.
#pragma once
#include "../bodies/coincidences.hpp"

RPU_BEGIN

struct SignQueue {
  U words[kMaxWords + 2];  // bit p of a lane: pulse p goes up; arbitrary beyond `count`
  U count, ups;            // pulses, and those that go up

  RPU_FN void clear() { count = U{}, ups = U{}, last_ = U{}; }

  /// Appends the lowest `n` signs of each lane, at most 32; the bits above must be zero.
  RPU_FN void append(U signs, U n) {
    const U at = count & 31u;
    last_ |= signs << at;
    const M full = (at + n) > 31u;
    if (any(full)) {
      store_last(full);
      last_ = select(full, (signs >> 1) >> (31u - at), last_);
    }
    count += n;
    ups += popcount(signs);
  }

  /// To be called after the last append.
  RPU_FN void finish() {
    if (any(count > 31u)) store_last(I{} == 0);
    else words[0] = last_;
  }

  /// The 32 signs from pulse p on.
  RPU_FN U from(int p) const { return (words[p >> 5] >> (p & 31)) | (words[(p >> 5) + 1] << 1 << (31 - (p & 31))); }

  RPU_FN int most() const {
    uint32_t n = 0;
    for (int i = 0; i < kLanes; ++i) n = get(count, i) > n ? get(count, i) : n;
    return static_cast<int>(n);
  }

 private:
  U last_;  // the word that is not full yet

  RPU_FN void store_last(M lanes) {
    const U chosen = as_u(select(lanes, I{} + 1, I{}));
    for (int i = 0; i < kLanes; ++i) {
      const uint32_t value = get(last_, i);
      if (get(chosen, i) != 0) __builtin_memcpy(reinterpret_cast<char*>(words + (get(count, i) >> 5)) + 4 * i, &value, 4);
    }
  }
};

/// Fills the queues of kPacks packs of cells of the source's row, at columns[0], columns[1], ...
///
/// A row fires in few slots, and only in those can its cells be pulsed: they are visited in order, and each lane collects
/// its signs at a position of its own, one bit that moves up with every pulse.
template <int kPacks, class Source, class Columns>
RPU_FN void fill(SignQueue* queues, const Source& source, const Columns* columns) {
  U signs[kPacks], position[kPacks];
  int slots = 0;  // visited since the last append; a position has room for 32
  for (int k = 0; k < kPacks; ++k) queues[k].clear(), signs[k] = U{}, position[k] = U{} + 1;
  const auto append = [&] {
    for (int k = 0; k < kPacks; ++k) {
      queues[k].append(signs[k], popcount(position[k] - 1));
      signs[k] = U{}, position[k] = U{} + 1;
    }
    slots = 0;
  };
  for (int64_t w = 0; w < source.n_words; ++w) {
    uint32_t open = source.slots(w);
    if (open == 0) continue;
    const int n = __builtin_popcount(open);
    if (slots + n > 32) append();
    slots += n;
    U fired[kPacks], up[kPacks];
    for (int k = 0; k < kPacks; ++k) source.word(w, columns[k], fired[k], up[k]);
    for (; open != 0; open &= open - 1) {
      const uint32_t slot = open & (0u - open);
      for (int k = 0; k < kPacks; ++k) {
        signs[k] = select((up[k] & slot) != 0u, signs[k] | position[k], signs[k]);
        position[k] = select((fired[k] & slot) != 0u, position[k] + position[k], position[k]);
      }
    }
  }
  append();
  for (int k = 0; k < kPacks; ++k) queues[k].finish();
}

/// The same where every device calls it: not inlined.
template <int kPacks, class Source, class Columns>
void fill_apart(SignQueue* queues, const Source& source, const Columns* columns) {
  fill<kPacks>(queues, source, columns);
}

RPU_END
