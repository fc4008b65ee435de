// The pulsed update: trains of bit words, coincidence counts, and the pulses of every cell. Compiled once per level.
#include "../bodies/trains.hpp"
#include "devices.gen.hpp"
#include "loops.hpp"
#include "pulses.hpp"

RPU_BEGIN

// -- trains ---------------------------------------------------------------------------------------------------------

/// Adds `bits` (up to 32 slots) of a pack of lines at bit `offset` of their trains.
struct Deposit {
  RPU_FN void operator()(uint32_t* words, int64_t line_stride, int64_t line, int64_t offset, int n_bits, U bits) const {
    uint32_t* word = words + (offset >> 5) * line_stride + line;
    const int shift = static_cast<int>(offset & 31);
    store(word, load(word) | (bits << shift));
    if (shift + n_bits > 32) store(word + line_stride, load(word + line_stride) | (bits >> (32 - shift)));
  }
};

void trains(const TrainArgs& args, Range line_groups) {
  const Key key = make_key(args.seed);
  for (int64_t g = line_groups.begin; g < line_groups.end; ++g)
    for_each_quad_of_group(g, args.values.cols, [&](const Quad& quad) {
      for (int64_t sample = 0; sample < args.values.rows; ++sample)
        if (args.length[sample] > 0) train_of_sample(args, key, sample, quad, Deposit{});
    });
}

void line_values(const LineValueArgs& args, Range samples) { over_samples(LineValues(args), args.values.cols, samples); }

void row_abs_max(const ConstMatrix& values, Range samples, float* largest) {
  for (int64_t sample = samples.begin; sample < samples.end; ++sample) {
    const float* row = values.data + sample * values.stride;
    I most{};  // as integers, magnitudes are ordered like floats, with infinity and NaN on top
    for (int64_t col = 0; col < values.cols; col += kLanes) {
      const I magnitude = as_i(f_to_bits(abs_(load(row + col, values.cols - col))));
      most = select(magnitude > most, magnitude, most);
    }
    uint32_t bits = 0;
    for (int i = 0; i < kLanes; ++i) bits = get(as_u(most), i) > bits ? get(as_u(most), i) : bits;
    __builtin_memcpy(largest + sample, &bits, 4);
  }
}

// -- cells ----------------------------------------------------------------------------------------------------------

/// The update of a range of rows, one row after the other.
template <class Device, class Source> struct RowUpdate {
  const UpdateArgs& args;
  const Device device;
  const Key key;
  Source source;
  U ups{}, pulses{};                 // per-lane totals since the last drain
  PulseTotals totals{0, 0};
  static constexpr int kNearMost = 512;
  uint32_t near_columns[kNearMost + 2 * kLanes];  // cells of the row that are near a bound
  int n_near = 0;
  LateCells<Device> late;
  static constexpr int kFewLanes = 2 * kLanes * 3 / 8;  // so few busy lanes of two packs are finished elsewhere

  explicit RowUpdate(const UpdateArgs& a)
      : args(a),
        device(*static_cast<const typename Device::Params*>(a.params)),
        key(make_key(a.seed)),
        source(a.pulses, a.flip) {}

  PulseTotals run(Range rows) {
    for (int64_t row = rows.begin; row < rows.end; ++row) {
      float* weights = args.weights.data + row * args.weights.stride;
      source.set_row(row);
      if (!fires(source)) continue;
      Quad two[2];
      int n = 0;
      for_each_quad(row, args.weights.cols, args.groups.begin, args.groups.end, [&](const Quad& quad) {
        two[n++] = quad;
        if (n < 2) return;
        update_quads(row, weights, two, n);
        n = 0;
      });
      if (n > 0) update_quads(row, weights, two, n);
      update_near(row, weights);
      update_late(row, weights);
      drain_totals();
    }
    return totals;
  }

  RPU_FN bool merges() const { return merges_pulses(device, args.noise); }

  /// Up to two quads, whose normals are drawn together.
  void update_quads(int64_t row, float* weights, const Quad* quads, int n) {
    F xi[2][4] = {};
    if (merges() && device.noisy()) draw(quads, n, xi);
    for (int i = 0; i < n; ++i) {
      update_quad(row, weights, quads[i], xi[i]);
      if (n_near > kNearMost - kGroup) update_near(row, weights);
      if (late.full()) update_late(row, weights);
    }
  }

  RPU_FN void draw(const Quad* quads, int n, F (*xi)[4]) const {
    if (n == 2) return normals_of_two(quads, args.chunk, args.step, Stream::CYCLE_MERGED, 0, key, xi);
    quads[0].with_packs(args.weights.cols, [&](auto packs) {
      quads[0].normals<packs()>(args.chunk, args.step, Stream::CYCLE_MERGED, 0, key, xi[0]);
    });
  }

  RPU_FN void update_quad(int64_t row, float* weights, const Quad& quad, const F* xi) {
    if (counts_pulses<Device>(args.noise)) {
      const CellFields cells = args.cells;  // a copy, which no store can change: its members stay in registers
      const int64_t cols = args.weights.cols;
      // Without a dependence on the weight there is little to wait for.
      constexpr int kPacks = Device::kStateIndependent ? 1 : 2;
      if (quad.column(3) + kLanes <= cols)
        for (int k = 0; k < 4; k += kPacks) update_counted<kPacks>(cells, row, quad, k, kLanes, weights, xi);
      else
        for (int k = 0; k < 4 && quad.column(k) < cols; ++k)
          update_counted<1>(cells, row, quad, k, cols - quad.column(k), weights, xi);
    } else if constexpr (!Device::kStateIndependent) {
      for (int k = 0; k < 4 && quad.column(k) < args.weights.cols; k += 2) {
        const int64_t columns[2] = {quad.column(k), quad.column(k + 1)};
        update_two_packs(row, columns, weights, xi + k);
      }
    }
  }

  /// Packs first, first + 1, ... of a quad, whose pulses are only counted; each has `n` columns in the row.
  template <int kPacks>
  RPU_FN void update_counted(const CellFields& cells, int64_t row, const Quad& quad, int first, int64_t n, float* weights,
                             const F* xi) {
    PulseCount pulsed[kPacks];
    typename Device::Cell cell[kPacks];
    F w[kPacks], moved[kPacks];
    M near_bound[kPacks];
    RPU_UNROLL
    for (int k = 0; k < kPacks; ++k) {
      const int64_t col = quad.column(first + k);
      pulsed[k] = count_pulses<!Device::kStateIndependent>(source, col);
      count(row, col, pulsed[k].up, pulsed[k].all);
      w[k] = load(weights + col, n);
      cell[k] = device.cell(PackReader{cells, row, col, n});
    }
    RPU_UNROLL
    for (int k = 0; k < kPacks; ++k)
      moved[k] = merged_counts(device, w[k], cell[k], pulsed[k], xi[first + k], near_bound[k]);
    RPU_UNROLL
    for (int k = 0; k < kPacks; ++k)
      keep(quad.column(first + k), n, weights, w[k], select(pulsed[k].all != 0u, moved[k], w[k]), near_bound[k]);
  }

  /// Two packs whose pulses are taken in order; the second may lie beyond the row.
  RPU_FN void update_two_packs(int64_t row, const int64_t* columns, float* weights, const F* xi) {
    SignQueue queues[2];
    fill<2>(queues, source, columns);
    PulsedPacks<Device, 2> packs;
    RPU_UNROLL
    for (int k = 0; k < 2; ++k) {
      count(row, columns[k], queues[k].ups, queues[k].count);
      packs.w[k] = load(weights + columns[k], args.weights.cols - columns[k]);
      packs.cells[k] = cell_at(row, columns[k]);
      packs.index[k] = lane_index() + static_cast<uint32_t>(row * args.weights.cols + columns[k]);
    }
    if (merges()) {
      F moved[2];
      M near_bound[2];
      merged_moments(device, packs, queues, xi, moved, near_bound);
      RPU_UNROLL
      for (int k = 0; k < 2; ++k)
        keep(columns[k], args.weights.cols - columns[k], weights, packs.w[k],
             select(queues[k].count != 0u, moved[k], packs.w[k]), near_bound[k]);
    } else {
      const int done = packs.apply(device, queues, kFewLanes, args, key);
      for (int k = 0; k < 2; ++k) {
        store(weights + columns[k], packs.w[k], args.weights.cols - columns[k]);
        late.note(columns[k], queues[k], done);
      }
    }
  }

  RPU_FN void count(int64_t row, int64_t col, U up, U all) {
    ups += up, pulses += all;
    if (args.counts.up == nullptr) return;
    const int64_t first = row * args.weights.cols + col, n = args.weights.cols - col;
    for (int i = 0; i < (n < kLanes ? n : kLanes); ++i) {
      args.counts.up[first + i] += get(up, i);
      args.counts.down[first + i] += get(all, i) - get(up, i);
    }
  }

  RPU_FN typename Device::Cell cell_at(int64_t row, int64_t col) const {
    return device.cell(PackReader{args.cells, row, col, args.weights.cols - col});
  }

  /// Stores a pack, except for the cells near a bound, which are noted.
  RPU_FN void keep(int64_t col, int64_t n, float* weights, F before, F moved, M near_bound) {
    near_bound &= first_lanes(n);
    if (any(near_bound)) {
      store_chosen(near_columns + n_near, lane_index() + static_cast<uint32_t>(col), near_bound);
      n_near += number(near_bound);
      moved = select(near_bound, before, moved);
    }
    store(weights + col, moved, n);
  }

  /// The collected cells near a bound, packed densely: their pulses one by one.
  void update_near(int64_t row, float* weights) {
    for (int i = n_near; i < n_near + 2 * kLanes; ++i) near_columns[i] = near_columns[0];
    int done = 0;
    for (; done + kLanes < n_near; done += 2 * kLanes) update_scattered<2>(row, weights, done);
    if (done < n_near) update_scattered<1>(row, weights, done);
    n_near = 0;
  }

  template <int kPacks> RPU_FN void update_scattered(int64_t row, float* weights, int first) {
    I columns[kPacks];
    PulsedPacks<Device, kPacks> packs;
    for (int k = 0; k < kPacks; ++k) {
      columns[k] = as_i(load(near_columns + first + k * kLanes));
      packs.w[k] = gather(weights, columns[k]);
      packs.cells[k] = device.cell(GatherReader{args.cells, row, columns[k]});
      packs.index[k] = as_u(columns[k]) + static_cast<uint32_t>(row * args.weights.cols);
    }
    SignQueue queues[kPacks];
    fill<kPacks>(queues, source, columns);
    packs.apply(device, queues, 0, args, key);
    for (int i = 0; i < kPacks * kLanes && first + i < n_near; ++i)
      weights[near_columns[first + i]] = get(packs.w[i / kLanes], i % kLanes);
  }

  void update_late(int64_t row, float* weights) {
    if constexpr (!Device::kStateIndependent) late.finish(device, row, weights, args, key);
  }

  void drain_totals() {
    for (int i = 0; i < kLanes; ++i) {
      totals.up += get(ups, i);
      totals.down += static_cast<int64_t>(get(pulses, i)) - get(ups, i);
    }
    ups = U{}, pulses = U{};
  }
};

template <class Device> PulseTotals update(const UpdateArgs& args, Range rows) {
  return for_source(args.pulses, [&](auto tag) { return RowUpdate<Device, typename decltype(tag)::Source>(args).run(rows); });
}

RPU_END

namespace rpu::RPU_LEVEL {

void register_update(UpdateKernels& table) {
  table.row_abs_max = row_abs_max;
  table.trains = trains;
  table.line_values = line_values;
#define RPU_DEVICE(name, header) table.update[static_cast<int>(DeviceKind::name)] = update<name>;
#include "../devices.def"
#undef RPU_DEVICE
}

}  // namespace rpu::RPU_LEVEL
