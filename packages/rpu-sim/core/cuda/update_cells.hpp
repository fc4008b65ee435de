// The pulses of a batch at single cells: one thread for a quad where they merge into one draw, else one for each cell.
#pragma once
#include "../bodies/merged.hpp"
#include "device.hpp"
#include "sources.hpp"

RPU_BEGIN

template <class Device, class Source> struct CellUpdate {
  UpdateArgs args;
  const int64_t* slots;
  int64_t* fired;
  Device device;
  Key key;

  CellUpdate(const PulsedChunk& chunk)
      : args(chunk.args),
        slots(chunk.slots),
        fired(chunk.fired),
        device(*static_cast<const typename Device::Params*>(chunk.args.params)),
        key(make_key(chunk.args.seed)) {}

  /// The cell at a column of the source's row, with a standard normal for merged pulses; returns its number of pulses.
  RPU_FN PulseCount update(const Source& source, int64_t row, int64_t col, F xi) const {
    const bool in_pairs = counts_pulses<Device>(args.noise) && !Device::kStateIndependent;
    const PulseCount n = in_pairs ? count_pulses<true>(source, col) : count_pulses<false>(source, col);
    if (n.all == 0) return n;
    const int64_t at = row * args.weights.cols + col;
    if (args.counts.up != nullptr) {
      args.counts.up[at] += n.up;
      args.counts.down[at] += n.all - n.up;
    }
    float* weight = args.weights.data + row * args.weights.stride + col;
    const typename Device::Cell cell = device.cell(PackReader{args.cells, row, col, args.weights.cols - col});
    const F w = *weight;
    M one_by_one = true;
    F moved = w;
    if (merges_pulses(device, args.noise)) moved = merged(source, col, cell, w, n, xi, one_by_one);
    *weight = one_by_one ? in_order(source, col, cell, w, static_cast<uint32_t>(at)) : moved;
    return n;
  }

 private:
  RPU_FN F merged(const Source& source, int64_t col, const typename Device::Cell& cell, F w, const PulseCount& n, F xi,
                  M& near_bound) const {
    if constexpr (Device::kStateIndependent) {
      F beyond;
      w = merged_constant_steps(device, w, cell, to_f(as_i(n.up)), to_f(as_i(n.all - n.up)), xi, beyond);
      near_bound = beyond > 0.0f;
      return w;
    } else if constexpr (HasPulseLaw<Device>::value) {
      if (counts_pulses<Device>(args.noise)) return merged_counts(device, w, cell, n, xi, near_bound);
    }
    MergedMoments moments(w);
    if constexpr (!Device::kStateIndependent) for_each_pulse(source, col, [&](bool up) { moments.pulse(device, cell, up, true); });
    return moments.moved(cell, xi, near_bound);
  }

  /// All pulses one by one; four share a Philox call.
  RPU_FN F in_order(const Source& source, int64_t col, const typename Device::Cell& cell, F w, uint32_t index) const {
    F xi[4] = {};
    uint32_t p = 0;
    for_each_pulse(source, col, [&](bool up) {
      if (p % 4 == 0 && device.noisy()) {
        U words[4];
        philox(index, args.chunk, args.step, Stream::CYCLE_PULSE, p / 4, key, words);
        cycle_noise(device, words, xi);
      }
      const F noise = (p & 2) != 0 ? (p & 1) != 0 ? xi[3] : xi[2] : (p & 1) != 0 ? xi[1] : xi[0];
      w = device.pulse(w, up, cell, noise);
      ++p;
    });
    return w;
  }

  template <class Pulse> RPU_FN static void for_each_pulse(const Source& source, int64_t col, Pulse&& pulse) {
    for (int64_t w = 0; w < source.n_words; ++w) {
      if (source.slots(w) == 0) continue;
      U open, up;
      source.word(w, col, open, up);
      for (; open != 0; open &= open - 1) pulse((up & open & (0u - open)) != 0);
    }
  }
};

/// Merged pulses: the four cells of a quad share the call of their noise.
template <class Device, class Source> struct UpdateQuads {
  CellUpdate<Device, Source> cell;

  RPU_DEVICE_FN void operator()(int64_t row, const Quad& quad) const {
    const Coincidences pulses = with_words(cell.args.pulses, cell.slots);
    Source source(pulses, cell.args.flip);
    source.set_row(row);
    F xi[4] = {};
    if (cell.device.noisy())
      quad.normals(cell.args.chunk, cell.args.step, Stream::CYCLE_MERGED, 0, cell.key, xi);
    PulseCount total{};
    for (int k = 0; k < 4; ++k) {
      if (quad.column(k) >= cell.args.weights.cols) break;
      const PulseCount n = cell.update(source, row, quad.column(k), xi[k]);
      total.up += n.up, total.all += n.all;
    }
    atomic_sum(cell.fired, total.up);
    atomic_sum(cell.fired + 1, total.all - total.up);
  }
};

template <class Device, class Source> struct UpdateSingly {
  CellUpdate<Device, Source> cell;

  RPU_DEVICE_FN void operator()(int64_t i) const {
    const int64_t row = i / cell.args.weights.cols, col = i % cell.args.weights.cols;
    const Coincidences pulses = with_words(cell.args.pulses, cell.slots);
    Source source(pulses, cell.args.flip);
    source.set_row(row);
    const PulseCount n = cell.update(source, row, col, 0.0f);
    atomic_sum(cell.fired, n.up);
    atomic_sum(cell.fired + 1, n.all - n.up);
  }
};

RPU_END
