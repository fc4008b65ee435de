// Where the pulses of a cell come from: words of 32 slots in the order of the samples. A set bit of `fired` is a pulse,
// the same bit of `up` its direction. All sources offer the same functions, so that everything behind them is
// written once: set_row(row), slots(w), word(w, columns, fired, up), n_words.
#pragma once
#include "../kernels.hpp"
#include "../rng.hpp"

RPU_BEGIN

constexpr int kMaxWords = static_cast<int>(kMaxChunkSlots / 32);

/// A pack of words at neighbouring or at scattered columns.
RPU_FN U load_words(const uint32_t* p, int64_t column) { return load(p + column); }
RPU_FN U load_words(const uint32_t* p, I columns) { return gather(p, columns); }
RPU_FN F load_values(const float* p, int64_t column) { return load(p + column, kLanes); }
RPU_FN F load_values(const float* p, I columns) { return gather(p, columns); }

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
  /// The slots in which any cell of the row may be pulsed.
  RPU_FN uint32_t slots(int64_t w) const { return d_fired[w]; }

  template <class Columns> RPU_FN void word(int64_t w, Columns columns, U& fired, U& up) const {
    fired = load_words(pulses.x_fired + w * pulses.x_stride, columns) & d_fired[w];
    up = fired & (load_words(pulses.x_negative + w * pulses.x_stride, columns) ^ d_negative[w]);
    drive_one_side(pulses, fired, up);
  }
};

/// Trains of which each line has a single word: those of a row stay in registers.
struct OneWordTrains {
  static constexpr int64_t n_words = 1;
  const Coincidences& pulses;
  const uint32_t *x_fired, *x_negative;
  const U d_fired, d_negative;
  const bool both_sides;

  RPU_FN explicit OneWordTrains(const TrainSource& row)
      : pulses(row.pulses), x_fired(pulses.x_fired), x_negative(pulses.x_negative), d_fired(broadcast(row.d_fired[0])),
        d_negative(broadcast(row.d_negative[0])), both_sides(pulses.drive == Drive::kBoth) {}

  template <class Columns> RPU_FN void word(int64_t, Columns columns, U& fired, U& up) const {
    fired = load_words(x_fired, columns) & d_fired;
    up = fired & (load_words(x_negative, columns) ^ d_negative);
    if (!both_sides) drive_one_side(pulses, fired, up);
  }
};

/// Deterministic pulses, in the first slots of each sample: rint(BL |x| |d|) for the probabilities x and d of
/// DETERMINISTIC_IMPLICIT, rint(|x| |d| / BL) for the counts of MEAN_COUNT.
struct DeterministicSource {
  const Coincidences& pulses;
  uint32_t flip;
  int64_t n_words, row = 0;

  RPU_FN DeterministicSource(const Coincidences& p, bool negative_lr)
      : pulses(p), flip(negative_lr ? ~0u : 0u), n_words(p.n_words) {}

  RPU_FN void set_row(int64_t r) { row = r; }
  RPU_FN uint32_t slots(int64_t w) const {
    const int64_t sample = w / pulses.words_per_sample;
    const float d = __builtin_fabsf(pulses.d_value[sample * pulses.d_stride + row]);
    // No cell of the row has more than the largest |x| would give: 1, or the length where pulses were counted.
    const float most = pulses.kind == params::PulseType::MEAN_COUNT ? d : static_cast<float>(pulses.length[sample]) * d;
    const int n = static_cast<int>(most + 0.5f) - static_cast<int>(w % pulses.words_per_sample) * 32;
    return n > 31 ? ~0u : n < 0 ? 0u : (1u << n) - 1u;
  }

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

  RPU_FN CountSource(const Coincidences& p, bool) : pulses(p), n_words(p.n_words) {}

  RPU_FN void set_row(int64_t r) { row = r; }

  /// Not known without looking at all cells.
  RPU_FN uint32_t slots(int64_t) const { return ~0u; }

  RPU_FN I counts(int64_t column) const {
    const auto* at = reinterpret_cast<const float*>(pulses.counts + row * pulses.counts_stride + column);
    return as_i(f_to_bits(load(at, pulses.counts_stride - column)));
  }
  RPU_FN I counts(I columns) const {
    return as_i(gather(reinterpret_cast<const uint32_t*>(pulses.counts + row * pulses.counts_stride), columns));
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

/// Whether any cell of the row may be pulsed.
template <class Source> RPU_FN bool fires(const Source& source) {
  uint32_t slots = 0;
  for (int64_t w = 0; w < source.n_words; ++w) slots |= source.slots(w);
  return slots != 0;
}

/// Pulses of cells. `pairs` is twice the number of pairs of an up and a later down pulse; of those within a word of slots
/// half are counted.
struct PulseCount {
  U up, all, pairs;
};

template <bool kPairs, class Source, class Columns> RPU_FN PulseCount count_pulses(const Source& source, Columns columns) {
  PulseCount total{};
  for (int64_t w = 0; w < source.n_words; ++w) {
    U fired, up;
    source.word(w, columns, fired, up);
    const U n = popcount(fired), n_up = popcount(up);
    if constexpr (kPairs) total.pairs += (n - n_up) * (total.up + total.up + n_up);
    total.all += n;
    total.up += n_up;
  }
  return total;
}

RPU_END
