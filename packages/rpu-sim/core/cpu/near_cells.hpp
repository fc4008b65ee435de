// Cells of a row that are near a bound, packed densely: their pulses are needed one by one.
#pragma once
#include "pulses.hpp"

RPU_BEGIN

template <class Device> class NearCells {
 public:
  /// Notes the chosen cells of a pack at column `col`.
  RPU_FN void note(int64_t col, M chosen) {
    store_chosen(columns_ + n_, lane_index() + static_cast<uint32_t>(col), chosen);
    n_ += number(chosen);
  }
  bool full() const { return n_ > kMost - kGroup; }

  /// Fires the pulses of the source's row at the cells noted in it, and forgets them.
  template <class Source>
  RPU_FN void finish(const Device& device, const Source& source, int64_t row, float* weights, const UpdateArgs& args, Key key) {
    if (n_ > 0) fire(device, source, row, weights, args, key);
  }

  static constexpr int kMost = 512 + kGroup;

 private:
  template <class Source>
  void fire(const Device& device, const Source& source, int64_t row, float* weights, const UpdateArgs& args, Key key) {
    for (int i = n_; i < n_ + 2 * kLanes; ++i) columns_[i] = columns_[0];
    int done = 0;
    for (; done + kLanes < n_; done += 2 * kLanes) fill_and_fire<2>(device, source, done, row, weights, args, key);
    if (done < n_) fill_and_fire<1>(device, source, done, row, weights, args, key);
    n_ = 0;
  }

  template <int kPacks, class Source>
  RPU_FN void fill_and_fire(const Device& device, const Source& source, int first, int64_t row, float* weights,
                            const UpdateArgs& args, Key key) {
    I columns[kPacks];
    for (int k = 0; k < kPacks; ++k) columns[k] = as_i(load(columns_ + first + k * kLanes));
    SignQueue queues[kPacks];
    fill_apart<kPacks>(queues, source, columns);
    fire_packs<kPacks>(device, queues, columns, first, row, weights, args, key);
  }

  /// Not inlined: the same for all sources.
  template <int kPacks>
  void fire_packs(const Device& device, const SignQueue* queues, const I* columns, int first, int64_t row, float* weights,
                  const UpdateArgs& args, Key key) {
    PulsedPacks<Device, kPacks> packs;
    for (int k = 0; k < kPacks; ++k) {
      packs.w[k] = gather(weights, columns[k]);
      packs.cells[k] = device.cell(GatherReader{args.cells, row, columns[k]});
      packs.index[k] = as_u(columns[k]) + static_cast<uint32_t>(row * args.weights.cols);
    }
    packs.apply(device, queues, 0, args, key);
    for (int i = 0; i < kPacks * kLanes && first + i < n_; ++i)
      weights[columns_[first + i]] = get(packs.w[i / kLanes], i % kLanes);
  }

  uint32_t columns_[kMost + 2 * kLanes];
  int n_ = 0;
};

RPU_END
