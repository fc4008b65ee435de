// One block that goes over numbers: those whose order matters are read by all threads and added by one of them, so that
// sums have the bits of the CPU; extremes and whole numbers need no order.
#pragma once
#include "launch.hpp"

RPU_BEGIN

/// For numbers whose order matters. `Fold` gives begin(state), read(i), step(state, value), which may change the value, and
/// store(i, value), end(state).
template <class Fold> struct InOrder {
  using Value = decltype(std::declval<Fold>().read(0));
  Fold fold;
  int64_t n;

  struct Shared {
    Value value[kThreads];
    typename Fold::State state;
  };
  struct Registers {};

  RPU_DEVICE_FN void operator()(Block<Registers>& block, Shared& shared) const {
    block.phase([&](int thread, Registers&) {
      if (thread == 0) fold.begin(shared.state);
    });
    for (int64_t first = 0; first < n; first += kThreads) {
      const int count = static_cast<int>(n - first < kThreads ? n - first : kThreads);
      block.phase([&](int thread, Registers&) {
        if (thread < count) shared.value[thread] = fold.read(first + thread);
      });
      block.phase([&](int thread, Registers&) {
        for (int i = 0; thread == 0 && i < count; ++i) fold.step(shared.state, shared.value[i]);
      });
      block.phase([&](int thread, Registers&) {
        if (thread < count) fold.store(first + thread, shared.value[thread]);
      });
    }
    block.phase([&](int thread, Registers&) {
      if (thread == 0) fold.end(shared.state);
    });
  }
};

template <class Fold> void in_order(Stream_t stream, int64_t n, const Fold& fold) {
  over_blocks(stream, 1, 1, InOrder<Fold>{fold, n});
}

/// A sum in order, without anything to store.
struct SumFold {
  using State = double;

  RPU_FN void begin(double& sum) const { sum = 0.0; }
  RPU_FN void step(double& sum, double value) const { sum += value; }
  RPU_FN void store(int64_t, double) const {}
};

/// best[0] = the value that is better than `start` and all others; NaN is better than none, and none is better than NaN.
template <class Block_, class Value, class Read, class Better>
RPU_DEVICE_FN void find_best(Block_& block, Value (&best)[kThreads], int64_t n, Value start, const Read& read,
                             const Better& better) {
  block.phase([&](int thread, auto&) {
    Value found = start;
    for (int64_t i = thread; i < n; i += kThreads) {
      const Value value = read(i);
      if (better(value, found)) found = value;
    }
    best[thread] = found;
  });
  for (int half = kThreads / 2; half > 0; half /= 2)
    block.phase([&](int thread, auto&) {
      if (thread < half && better(best[thread + half], best[thread])) best[thread] = best[thread + half];
    });
}

struct IsLarger {
  RPU_FN bool operator()(float a, float b) const { return a > b; }
};
struct IsSmaller {
  RPU_FN bool operator()(float a, float b) const { return a < b; }
};

/// Places of things of different length that lie one behind the other.
struct PlaceAll {
  const int32_t* length;
  int64_t n;
  int64_t *offset, *total;

  static constexpr int kWide = 16, kGroups = kThreads / kWide;
  struct Shared {
    int64_t of_thread[kThreads], of_group[kGroups];
  };
  struct Registers {};

  RPU_DEVICE_FN void operator()(Block<Registers>& block, Shared& shared) const {
    const int64_t each = (n + kThreads - 1) / kThreads;
    block.phase([&](int thread, Registers&) {
      int64_t sum = 0;
      for (int64_t i = first_of(thread, each); i < first_of(thread + 1, each); ++i) sum += length[i];
      shared.of_thread[thread] = sum;
    });
    block.phase([&](int thread, Registers&) {
      if (thread >= kGroups) return;
      int64_t sum = 0;
      for (int i = thread * kWide; i < (thread + 1) * kWide; ++i) sum += shared.of_thread[i];
      shared.of_group[thread] = sum;
    });
    block.phase([&](int thread, Registers&) {
      int64_t at = 0;
      for (int group = 0; group < thread / kWide; ++group) at += shared.of_group[group];
      for (int i = thread / kWide * kWide; i < thread; ++i) at += shared.of_thread[i];
      for (int64_t i = first_of(thread, each); i < first_of(thread + 1, each); ++i) {
        offset[i] = at;
        at += length[i];
      }
      if (thread == kThreads - 1) *total = at;
    });
  }

 private:
  RPU_FN int64_t first_of(int thread, int64_t each) const { return thread * each < n ? thread * each : n; }
};

RPU_END
