// Where the pulses of a cell come from: words of 32 slots in the order of the samples. A set bit of `fired` is a pulse,
// the same bit of `up` its direction. Both sources offer the same three functions, so that everything behind them is
// written once: set_row(row), word(w, columns, fired, up), n_words.
#pragma once
#include "../kernels.hpp"
#include "../rng.hpp"

RPU_BEGIN

constexpr int kMaxWords = static_cast<int>(kMaxChunkSlots / 32);

/// A pack of words at neighbouring or at scattered columns.
RPU_FN U load_words(const uint32_t* p, int64_t column) { return load(p + column); }
RPU_FN U load_words(const uint32_t* p, const int32_t* columns) {
  uint32_t v[kLanes];
  for (int i = 0; i < kLanes; ++i) v[i] = p[columns[i]];
  return load(v);
}
RPU_FN F load_values(const float* p, int64_t column) { return load(p + column, kLanes); }
RPU_FN F load_values(const float* p, const int32_t* columns) {
  float v[kLanes];
  for (int i = 0; i < kLanes; ++i) v[i] = p[columns[i]];
  return load(v, kLanes);
}

/// Keeps of the pulses those that a one-sided device gets, and turns them up.
RPU_FN void drive_one_side(const Coincidences& pulses, U& fired, U& up) {
  if (pulses.drive == Drive::kBoth) return;
  fired = pulses.drive == Drive::kUp ? up : fired & ~up;
  up = fired;
}

/// Stochastic trains: a cell is pulsed in the slots in which its row and its column fire. Equal signs of x and d move
/// the weight down.
struct TrainSource {
  const Coincidences& pulses;
  uint32_t flip;  // all ones for a negative learning rate
  int64_t n_words;
  uint32_t d_fired[kMaxWords], d_negative[kMaxWords];

  TrainSource(const Coincidences& p, bool negative_lr) : pulses(p), flip(negative_lr ? ~0u : 0u), n_words(p.n_words) {}

  void set_row(int64_t row) {
    for (int64_t w = 0; w < n_words; ++w) {
      d_fired[w] = pulses.d_fired[w * pulses.d_stride + row];
      d_negative[w] = pulses.d_negative[w * pulses.d_stride + row] ^ flip;
    }
  }
  template <class Columns> RPU_FN void word(int64_t w, Columns columns, U& fired, U& up) const {
    fired = load_words(pulses.x_fired + w * pulses.x_stride, columns) & d_fired[w];
    up = fired & (load_words(pulses.x_negative + w * pulses.x_stride, columns) ^ d_negative[w]);
    drive_one_side(pulses, fired, up);
  }
};

/// Deterministic pulses, in the first slots of each sample: rint(BL |x| |d|) for the probabilities x and d of
/// DETERMINISTIC_IMPLICIT, rint(|x| |d| / BL) for the counts of MEAN_COUNT.
struct DeterministicSource {
  const Coincidences& pulses;
  uint32_t flip;
  int64_t n_words, row = 0;

  DeterministicSource(const Coincidences& p, bool negative_lr)
      : pulses(p), flip(negative_lr ? ~0u : 0u), n_words(p.n_words) {}

  void set_row(int64_t r) { row = r; }

  template <class Columns> RPU_FN void word(int64_t w, Columns columns, U& fired, U& up) const {
    const int64_t sample = w / pulses.words_per_sample;
    const int first_slot = static_cast<int>(w % pulses.words_per_sample) * 32;
    const F x = load_values(pulses.x_value + sample * pulses.x_stride, columns);
    const F d = broadcast(pulses.d_value[sample * pulses.d_stride + row]);
    const float length = static_cast<float>(pulses.length[sample]);
    const bool counted = pulses.kind == params::PulseType::MEAN_COUNT;
    const F mean = counted ? (abs_(x) * abs_(d)) / (length > 0.0f ? length : 1.0f) : (length * abs_(x)) * abs_(d);
    const I n = to_i(rint_(mean)) - first_slot;
    const I within = select(n > 31, I{} + 31, select(n < 0, I{}, n));
    fired = select(n > 31, U{} - 1, ((U{} + 1) << as_u(within)) - 1);
    const U product_negative = as_u(as_i(f_to_bits(x) ^ f_to_bits(d)) >> 31);
    up = fired & (product_negative ^ flip);
    drive_one_side(pulses, fired, up);
  }
};

/// Given numbers of pulses, all of a cell in one direction.
struct CountSource {
  const Coincidences& pulses;
  int64_t n_words, row = 0;

  CountSource(const Coincidences& p, bool) : pulses(p), n_words(p.n_words) {}

  void set_row(int64_t r) { row = r; }

  RPU_FN I counts(int64_t column) const {
    int32_t v[kLanes] = {};
    const int64_t n = pulses.counts_stride - column < kLanes ? pulses.counts_stride - column : kLanes;
    __builtin_memcpy(v, pulses.counts + row * pulses.counts_stride + column, static_cast<size_t>(n) * sizeof(int32_t));
    I result;
    __builtin_memcpy(&result, v, sizeof result);
    return result;
  }
  RPU_FN I counts(const int32_t* columns) const {
    int32_t v[kLanes];
    for (int i = 0; i < kLanes; ++i) v[i] = pulses.counts[row * pulses.counts_stride + columns[i]];
    I result;
    __builtin_memcpy(&result, v, sizeof result);
    return result;
  }
  template <class Columns> RPU_FN void word(int64_t w, Columns columns, U& fired, U& up) const {
    const I given = counts(columns);
    const I n = select(given < 0, I{} - given, given) - static_cast<int32_t>(w) * 32;
    const I within = select(n > 31, I{} + 31, select(n < 0, I{}, n));
    fired = select(n > 31, U{} - 1, ((U{} + 1) << as_u(within)) - 1);
    up = select(given > 0, fired, U{});
  }
};

template <class S> struct SourceTag {
  using Source = S;
};

/// Calls body with the tag of the source that these pulses come from.
template <class Body> RPU_FN auto for_source(const Coincidences& pulses, Body&& body) {
  if (pulses.counts != nullptr) return body(SourceTag<CountSource>{});
  if (pulses.x_value != nullptr) return body(SourceTag<DeterministicSource>{});
  return body(SourceTag<TrainSource>{});
}

template <class Source, class Columns> RPU_FN void count_pulses(const Source& source, Columns columns, U& ups, U& all) {
  ups = U{}, all = U{};
  for (int64_t w = 0; w < source.n_words; ++w) {
    U fired, up;
    source.word(w, columns, fired, up);
    all += popcount(fired);
    ups += popcount(up);
  }
}

RPU_END
