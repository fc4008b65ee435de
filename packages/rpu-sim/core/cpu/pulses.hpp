// What the pulses of a batch do to packs of cells: one by one in order, or merged where that is exact.
#pragma once
#include "../bodies/merged.hpp"
#include "sign_queue.hpp"

RPU_BEGIN

/// Adds to the pulses of every cell of a pack, which are wanted.
RPU_FN void count_cells(const UpdateArgs& args, int64_t row, int64_t col, U up, U all) {
  const int64_t first = row * args.weights.cols + col, n = args.weights.cols - col;
  for (int i = 0; i < (n < kLanes ? n : kLanes); ++i) {
    args.counts.up[first + i] += get(up, i);
    args.counts.down[first + i] += get(all, i) - get(up, i);
  }
}

/// kPacks packs of cells whose pulses are applied one by one. A pulse waits for the one before it, so two packs at a time
/// keep the processor busy.
template <class Device, int kPacks> struct PulsedPacks {
  F w[kPacks];
  typename Device::Cell cells[kPacks];
  U index[kPacks];  // of the cells, for the cycle noise

  /// The next four pulses, as far as any are left: pulses 4 draw, 4 draw + 1, ... of each cell; bit q of `signs` is the
  /// sign of the q-th.
  RPU_FN void four_pulses(const Device& device, const U* signs, const I* left, const U* draw, const UpdateArgs& args,
                          Key key) {
    F xi[kPacks][4] = {};
    if (device.noisy()) {
      RPU_UNROLL
      for (int k = 0; k < kPacks; ++k) {
        U words[4];
        philox(index[k], args.chunk, args.step, Stream::CYCLE_PULSE, draw[k], key, words);
        cycle_noise(device, words, xi[k]);
      }
    }
    RPU_UNROLL
    for (int q = 0; q < 4; ++q) {
      RPU_UNROLL
      for (int k = 0; k < kPacks; ++k)
        w[k] = select(left[k] > q, device.pulse(w[k], (signs[k] & (1u << q)) != 0u, cells[k], xi[k][q]), w[k]);
    }
  }

  /// Pulses from the first on until no more than `few` lanes have any left, none of them more than 32. Returns the number
  /// of pulses that were looked at, a multiple of four. Not inlined: the code is long and has many callers.
  int apply(const Device& device, const SignQueue* queues, int few, const UpdateArgs& args, Key key) {
    for (int p = 0;; p += 4) {
      I left[kPacks];
      U signs[kPacks], draw[kPacks];
      int busy = 0;
      bool long_way = false;
      RPU_UNROLL
      for (int k = 0; k < kPacks; ++k) {
        left[k] = as_i(queues[k].count) - p;
        signs[k] = queues[k].words[p >> 5] >> (p & 31);
        draw[k] = broadcast(static_cast<uint32_t>(p / 4));
        busy += number(left[k] > 0);
        long_way |= any(left[k] > 32);
      }
      if (busy <= few && !long_way) return p;
      four_pulses(device, signs, left, draw, args, key);
    }
  }
};

/// Cells of a row of which only a few pulses are left, packed densely.
template <class Device> class LateCells {
 public:
  /// Notes the cells of a pack at column `col` that have pulses from pulse `p` on, at most 32.
  RPU_FN void note(int64_t col, const SignQueue& queue, int p) {
    const I left = as_i(queue.count) - p;
    const M late = left > 0;
    store_chosen(column_ + n_, lane_index() + static_cast<uint32_t>(col), late);
    store_chosen(left_ + n_, as_u(left), late);
    store_chosen(signs_ + n_, queue.from(p), late);
    store_chosen(draw_ + n_, broadcast(static_cast<uint32_t>(p / 4)), late);
    n_ += number(late);
  }
  bool full() const { return n_ > kMost - kGroup; }

  void finish(const Device& device, int64_t row, float* weights, const UpdateArgs& args, Key key) {
    for (int i = n_; i < n_ + 2 * kLanes; ++i) column_[i] = column_[0], left_[i] = signs_[i] = draw_[i] = 0;
    for (int first = 0; first < n_; first += 2 * kLanes) finish_two_packs(device, first, row, weights, args, key);
    n_ = 0;
  }

 private:
  RPU_FN void finish_two_packs(const Device& device, int first, int64_t row, float* weights, const UpdateArgs& args,
                               Key key) {
    PulsedPacks<Device, 2> packs;
    U signs[2], draw[2];
    I left[2];
    for (int k = 0; k < 2; ++k) {
      const int at = first + k * kLanes;
      const I columns = as_i(load(column_ + at));
      left[k] = as_i(load(left_ + at)), signs[k] = load(signs_ + at), draw[k] = load(draw_ + at);
      packs.w[k] = gather(weights, columns);
      packs.cells[k] = device.cell(GatherReader{args.cells, row, columns});
      packs.index[k] = as_u(columns) + static_cast<uint32_t>(row * args.weights.cols);
    }
    while (any(left[0] > 0) || any(left[1] > 0)) {
      packs.four_pulses(device, signs, left, draw, args, key);
      for (int k = 0; k < 2; ++k) left[k] -= 4, signs[k] >>= 4, draw[k] += 1u;
    }
    for (int i = 0; i < 2 * kLanes && first + i < n_; ++i)
      weights[column_[first + i]] = get(packs.w[i / kLanes], i % kLanes);
  }

  static constexpr int kMost = 512;
  uint32_t column_[kMost + 2 * kLanes], left_[kMost + 2 * kLanes], signs_[kMost + 2 * kLanes], draw_[kMost + 2 * kLanes];
  int n_ = 0;
};

/// The merged pulses of two packs; a pulse waits for the one before it here too.
template <class Device>
RPU_FN void merged_moments(const Device& device, const PulsedPacks<Device, 2>& packs, const SignQueue* queues, const F* xi,
                           F* moved, M* near_bound) {
  MergedMoments moments[2] = {MergedMoments(packs.w[0]), MergedMoments(packs.w[1])};
  const I count[2] = {as_i(queues[0].count), as_i(queues[1].count)};
  const int first = queues[0].most(), second = queues[1].most(), most = first > second ? first : second;
  for (int p = 0; p < most; ++p) {
    RPU_UNROLL
    for (int k = 0; k < 2; ++k)
      moments[k].pulse(device, packs.cells[k], (queues[k].words[p >> 5] & (1u << (p & 31))) != 0u, count[k] > p);
  }
  RPU_UNROLL
  for (int k = 0; k < 2; ++k) moved[k] = moments[k].moved(packs.cells[k], xi[k], near_bound[k]);
}

RPU_END
