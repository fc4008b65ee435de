// The pulsed update: trains of bit words, coincidence counts, and the pulses of every cell. Compiled once per level.
#include "../bodies/trains.hpp"
#include "counted_rows.hpp"
#include "devices.gen.hpp"
#include "loops.hpp"
#include "row_cells.hpp"

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

/// The update of a range of rows, one row after the other, with the pulses of one source.
template <class Device, class Source> struct RowUpdate {
  RowCells<Device> cells;
  Source source;

  explicit RowUpdate(const UpdateArgs& args) : cells(args), source(args.pulses, args.flip) {}

  PulseTotals run(Range rows) {
    const UpdateArgs& args = cells.args;
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
      cells.near.finish(cells.device, source, row, weights, args, cells.key);
      cells.late.finish(cells.device, row, weights, args, cells.key);
      cells.drain_totals();
    }
    return cells.totals;
  }

  /// Up to two quads, whose normals are drawn together.
  void update_quads(int64_t row, float* weights, const Quad* quads, int n) {
    F xi[2][4] = {};
    if (cells.merges() && cells.device.noisy()) draw_quads(cells.args, quads, n, cells.key, xi);
    for (int i = 0; i < n; ++i) {
      update_quad(row, weights, quads[i], xi[i]);
      if (cells.near.full()) cells.near.finish(cells.device, source, row, weights, cells.args, cells.key);
      if (cells.late.full()) cells.late.finish(cells.device, row, weights, cells.args, cells.key);
    }
  }

  RPU_FN void update_quad(int64_t row, float* weights, const Quad& quad, const F* xi) {
    if constexpr (HasPulseLaw<Device>::value) {
      if (counts_pulses<Device>(cells.args.noise)) {
        PulseCount pulsed[4];
        for (int k = 0; k < 4 && quad.column(k) < cells.args.weights.cols; ++k)
          pulsed[k] = count_pulses<true>(source, quad.column(k));
        return cells.take_counts(row, quad, pulsed, weights, xi);
      }
    }
    SignQueue queues[4];
    fill_quad(queues, source, quad, cells.args.weights.cols);
    cells.take_in_order(row, quad, queues, weights, xi);
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
