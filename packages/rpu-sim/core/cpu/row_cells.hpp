// Updates of devices whose steps depend on their state: what happens to the cells of a row wherever their pulses come from.
// It is compiled once per device, and what knows no device once per source, instead of for every pair of the two: inlined,
// they took three quarters of the time to compile, for a call less in hundreds of cycles.
#pragma once
#include "near_cells.hpp"

RPU_BEGIN

/// The normals of up to two quads of a row. Not inlined: every device calls it.
void draw_quads(const UpdateArgs& args, const Quad* quads, int n, Key key, F (*xi)[4]) {
  if (n == 2) return normals_of_two(quads, args.chunk, args.step, Stream::CYCLE_MERGED, 0, key, xi);
  quads[0].with_packs(args.weights.cols, [&](auto packs) {
    quads[0].normals<packs()>(args.chunk, args.step, Stream::CYCLE_MERGED, 0, key, xi[0]);
  });
}

/// The queues of the packs of a quad in a row of `cols` columns, two packs at a time; of those the second may lie beyond the
/// row. Not inlined: every device calls it.
template <class Source> void fill_quad(SignQueue* queues, const Source& source, const Quad& quad, int64_t cols) {
  for (int k = 0; k < 4 && quad.column(k) < cols; k += 2) {
    const int64_t columns[2] = {quad.column(k), quad.column(k + 1)};
    fill<2>(queues + k, source, columns);
  }
}

/// What happens to the cells of rows wherever their pulses come from, for devices whose steps depend on their state.
template <class Device> struct RowCells {
  const UpdateArgs& args;
  const Device device;
  const Key key;
  U ups{}, pulses{};                 // per-lane totals of a row
  PulseTotals totals{0, 0};
  NearCells<Device> near;
  LateCells<Device> late;
  static constexpr int kFewLanes = 2 * kLanes * 3 / 8;  // so few busy lanes of two packs are finished elsewhere

  explicit RowCells(const UpdateArgs& a)
      : args(a), device(*static_cast<const typename Device::Params*>(a.params)), key(make_key(a.seed)) {}

  RPU_FN bool merges() const { return merges_pulses(device, args.noise); }

  /// A quad whose pulses are taken in order. Not inlined: the same for all sources.
  void take_in_order(int64_t row, const Quad& quad, const SignQueue* queues, float* weights, const F* xi) {
    for (int k = 0; k < 4 && quad.column(k) < args.weights.cols; k += 2) {
      const int64_t columns[2] = {quad.column(k), quad.column(k + 1)};
      take_two_packs(row, columns, queues + k, weights, xi + k);
    }
  }

  /// Two packs whose pulses are taken in order; the second may lie beyond the row.
  RPU_FN void take_two_packs(int64_t row, const int64_t* columns, const SignQueue* queues, float* weights, const F* xi) {
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

  /// A quad whose pulses are only counted. Not inlined: the same for all sources.
  void take_counts(int64_t row, const Quad& quad, const PulseCount* pulsed, float* weights, const F* xi) {
    const CellFields fields = args.cells;  // a copy, which no store can change: its members stay in registers
    const int64_t cols = args.weights.cols;
    if (quad.column(3) + kLanes <= cols)
      for (int k = 0; k < 4; k += 2) take_packs<2>(fields, row, quad, k, kLanes, pulsed, weights, xi);
    else
      for (int k = 0; k < 4 && quad.column(k) < cols; ++k)
        take_packs<1>(fields, row, quad, k, cols - quad.column(k), pulsed, weights, xi);
  }

  /// Packs first, first + 1, ... of a quad, whose pulses are only counted; each has `n` columns in the row.
  template <int kPacks>
  RPU_FN void take_packs(const CellFields& fields, int64_t row, const Quad& quad, int first, int64_t n,
                         const PulseCount* pulsed, float* weights, const F* xi) {
    typename Device::Cell cell[kPacks];
    F w[kPacks], moved[kPacks];
    M near_bound[kPacks];
    RPU_UNROLL
    for (int k = 0; k < kPacks; ++k) {
      const int64_t col = quad.column(first + k);
      count(row, col, pulsed[first + k].up, pulsed[first + k].all);
      w[k] = load(weights + col, n);
      cell[k] = device.cell(PackReader{fields, row, col, n});
    }
    RPU_UNROLL
    for (int k = 0; k < kPacks; ++k)
      moved[k] = merged_counts(device, w[k], cell[k], pulsed[first + k], xi[first + k], near_bound[k]);
    RPU_UNROLL
    for (int k = 0; k < kPacks; ++k)
      keep(quad.column(first + k), n, weights, w[k], select(pulsed[first + k].all != 0u, moved[k], w[k]), near_bound[k]);
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

RPU_END
