// The pulsed update: trains of bit words, coincidence counts, and the pulses of every cell. Compiled once per level.
#include "../bodies/trains.hpp"
#include "counted_rows.hpp"
#include "devices.gen.hpp"
#include "loops.hpp"

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

/// The update of a range of rows, one row after the other, by devices whose steps depend on their state.
template <class Device, class Source> struct RowUpdate {
  const UpdateArgs& args;
  const Device device;
  const Key key;
  Source source;
  U ups{}, pulses{};                 // per-lane totals of a row
  PulseTotals totals{0, 0};
  NearCells<Device> near;
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
      near.finish(device, source, row, weights, args, key);
      late.finish(device, row, weights, args, key);
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
      if (near.full()) near.finish(device, source, row, weights, args, key);
      if (late.full()) late.finish(device, row, weights, args, key);
    }
  }

  RPU_FN void draw(const Quad* quads, int n, F (*xi)[4]) const {
    if (n == 2) return normals_of_two(quads, args.chunk, args.step, Stream::CYCLE_MERGED, 0, key, xi);
    quads[0].with_packs(args.weights.cols, [&](auto packs) {
      quads[0].normals<packs()>(args.chunk, args.step, Stream::CYCLE_MERGED, 0, key, xi[0]);
    });
  }

  RPU_FN void update_quad(int64_t row, float* weights, const Quad& quad, const F* xi) {
    if constexpr (HasPulseLaw<Device>::value) {
      if (counts_pulses<Device>(args.noise)) return update_counted_quad(row, weights, quad, xi);
    }
    for (int k = 0; k < 4 && quad.column(k) < args.weights.cols; k += 2) {
      const int64_t columns[2] = {quad.column(k), quad.column(k + 1)};
      update_two_packs(row, columns, weights, xi + k);
    }
  }

  /// A quad whose pulses are only counted.
  RPU_FN void update_counted_quad(int64_t row, float* weights, const Quad& quad, const F* xi) {
    const CellFields cells = args.cells;  // a copy, which no store can change: its members stay in registers
    const int64_t cols = args.weights.cols;
    if (quad.column(3) + kLanes <= cols)
      for (int k = 0; k < 4; k += 2) update_counted<2>(cells, row, quad, k, kLanes, weights, xi);
    else
      for (int k = 0; k < 4 && quad.column(k) < cols; ++k)
        update_counted<1>(cells, row, quad, k, cols - quad.column(k), weights, xi);
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
      pulsed[k] = count_pulses<true>(source, col);
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
      packs.cells[k] = device.cell(PackReader{args.cells, row, columns[k], args.weights.cols - columns[k]});
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
    if (args.counts.up != nullptr) count_cells(args, row, col, up, all);
  }

  /// Stores a pack, except for the cells near a bound, which are noted.
  RPU_FN void keep(int64_t col, int64_t n, float* weights, F before, F moved, M near_bound) {
    near_bound &= first_lanes(n);
    if (any(near_bound)) {
      near.note(col, near_bound);
      moved = select(near_bound, before, moved);
    }
    store(weights + col, moved, n);
  }

  void drain_totals() {
    totals.up += sum(ups);
    totals.down += sum(pulses - ups);
    ups = U{}, pulses = U{};
  }
};

template <class Device> PulseTotals update(const UpdateArgs& args, Range rows) {
  return for_source(args.pulses, [&](auto tag) {
    using Source = typename decltype(tag)::Source;
    if constexpr (Device::kStateIndependent) return CountedRows<Device, Source>(args).run(rows);
    else return RowUpdate<Device, Source>(args).run(rows);
  });
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
