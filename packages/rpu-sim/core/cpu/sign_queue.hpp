// The pulses of a pack of cells as one queue of signs per lane, oldest first: however the pulses of the cells are spread
// over the slots of a batch, pulse p of every lane is then processed at the same time.
#pragma once
#include "coincidences.hpp"

RPU_BEGIN

struct SignQueue {
  U words[kMaxWords + 1];  // bit p of a lane: pulse p goes up
  U count, ups;

  /// Takes the pulses of `source` in the lanes of `valid`.
  template <class Source, class Columns> RPU_FN void fill(const Source& source, Columns columns, M valid) {
    U current{};
    count = U{}, ups = U{};
    for (int64_t w = 0; w < source.n_words; ++w) {
      U fired, up;
      source.word(w, columns, fired, up);
      fired &= as_u(select(valid, I{} - 1, I{}));
      while (any(fired != 0u)) {
        const U bit = select((up & fired & (0u - fired)) != 0u, U{} + 1, U{});
        current |= bit << (count & 31u);
        ups += bit;
        count += select(fired != 0u, U{} + 1, U{});
        const M full = (fired != 0u) & ((count & 31u) == 0u);
        if (any(full)) current = flush(current, full);
        fired &= fired - 1u;
      }
    }
    for (int i = 0; i < kLanes; ++i) set_lane(get(count, i) >> 5, i, get(current, i));
  }

  RPU_FN int most() const {
    uint32_t n = 0;
    for (int i = 0; i < kLanes; ++i) n = get(count, i) > n ? get(count, i) : n;
    return static_cast<int>(n);
  }

 private:
  RPU_FN void set_lane(uint32_t word, int lane, uint32_t value) {
    __builtin_memcpy(reinterpret_cast<char*>(words + word) + 4 * lane, &value, 4);
  }
  RPU_FN U flush(U current, M full) {
    const U is_full = as_u(select(full, I{} + 1, I{}));
    for (int i = 0; i < kLanes; ++i)
      if (get(is_full, i) != 0) set_lane((get(count, i) >> 5) - 1, i, get(current, i));
    return select(full, U{}, current);
  }
};

RPU_END
