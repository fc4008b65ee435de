// Updates of devices whose steps do not depend on their state: pulses are only counted. Several short rows, or a segment of
// a long one, are worked on together: first their normals are drawn, then their cells are visited. Both loops are short
// and keep their constants in registers, and the memory is busy while the arithmetic of the first one is.
#pragma once
#include <type_traits>

#include "../bodies/merged.hpp"
#include "near_cells.hpp"

RPU_BEGIN

/// Reads the base fields of the rows of an array without a branch: a value that all cells share is read at one place.
class BaseFields {
 public:
  explicit BaseFields(const CellFields& cells) {
    for (int f = 0; f < kUsed; ++f) {
      const Field& field = cells.field[f];
      stride_[f] = field.stride;
      column_mask_[f] = field.stride == 0 ? 0 : -1;
      for (float& value : shared_[f]) value = *field.data;
      data_[f] = field.stride == 0 ? shared_[f] : field.data;
    }
  }

  /// A reader, as device.cell() needs one, of the pack at a column; `n` columns are left from there on.
  struct Reader {
    const float* row[4];
    int64_t column_mask[4], col, n;
    RPU_FN F operator()(int field) const { return load(row[field] + (col & column_mask[field]), n); }
    RPU_FN Reader at(int64_t column, int64_t left) const {
      Reader moved = *this;
      moved.col = column, moved.n = left;
      return moved;
    }
  };
  RPU_FN Reader of_row(int64_t row) const {
    Reader reader{};
    for (int f = 0; f < kUsed; ++f) reader.row[f] = data_[f] + row * stride_[f], reader.column_mask[f] = column_mask_[f];
    return reader;
  }

 private:
  static constexpr int kUsed = 4;  // bounds and steps
  static_assert(kMaxBound < kUsed && kMinBound < kUsed && kStepUp < kUsed && kStepDown < kUsed);
  alignas(64) float shared_[kUsed][kLanes];
  const float* data_[kUsed];
  int64_t stride_[kUsed], column_mask_[kUsed];
};

/// The normals of whole quads, pack k of quads[i] to to[i] + 16 k: two quads at a time, in a loop that does nothing else.
int draw_pairs(const Quad* quads, float* const* to, int n, uint32_t chunk, uint32_t step, Key key) {
  int i = 0;
  for (; i + 1 < n; i += 2) {
    F xi[2][4];
    normals_of_two(quads + i, chunk, step, Stream::CYCLE_MERGED, 0, key, xi);
    RPU_UNROLL
    for (int k = 0; k < 4; ++k) store(to[i] + 16 * k, xi[0][k], kLanes), store(to[i + 1] + 16 * k, xi[1][k], kLanes);
  }
  return i;
}

template <class Device, class Source> class CountedRows {
 public:
  explicit CountedRows(const UpdateArgs& args)
      : args_(args),
        device_(*static_cast<const typename Device::Params*>(args.params)),
        key_(make_key(args.seed)),
        source_(args.pulses, args.flip),
        fields_(args.cells) {
    static_assert(Device::kStateIndependent && Device::kExtraFields == 0);
    if (!device_.noisy())
      for (float& xi : xi_) xi = 0.0f;
  }

  PulseTotals run(Range rows) {
    int64_t fired[kRows];
    for (int64_t first = rows.begin; first < rows.end; first += kRows) {
      const int64_t end = first + kRows < rows.end ? first + kRows : rows.end;
      int n = 0;
      for (int64_t row = first; row < end; ++row) {  // without a branch: which rows fire is random
        source_.set_row(row);
        fired[n] = row;
        n += fires(source_) ? 1 : 0;
      }
      update_rows(fired, n);
    }
    return totals_;
  }

 private:
  static constexpr int64_t kSegment = 512, kRows = 64;

  void update_rows(const int64_t* rows, int n) {
    const int64_t width = (args_.groups.end - args_.groups.begin) * kGroup;
    const int together = width > kSegment / 2 ? 1 : static_cast<int>(kSegment / width);
    for (int i = 0; i < n; i += together) {
      const int count = i + together < n ? together : n - i;
      for (int64_t g = args_.groups.begin; g < args_.groups.end; g += kSegment / kGroup) {
        const int64_t end = g + kSegment / kGroup;
        update_segment(rows + i, count, {g, end < args_.groups.end ? end : args_.groups.end});
      }
    }
  }

  /// The cells of some groups of columns in `n` rows.
  void update_segment(const int64_t* rows, int n, Range groups) {
    const int64_t first = groups.begin * kGroup, width = (groups.end - groups.begin) * kGroup;
    const int64_t last = groups.end * kGroup < args_.weights.cols ? groups.end * kGroup : args_.weights.cols;
    if (device_.noisy()) draw(rows, n, groups);
    for (int i = 0; i < n; ++i) {
      float* weights = args_.weights.data + rows[i] * args_.weights.stride;
      source_.set_row(rows[i]);
      const float* xi = xi_ + i * width - first;
      if constexpr (std::is_same_v<Source, TrainSource>) {
        if (source_.n_words == 1) update_cells(OneWordTrains(source_), rows[i], first, last, weights, xi);
        else update_cells<const Source&>(source_, rows[i], first, last, weights, xi);
      } else {
        update_cells<const Source&>(source_, rows[i], first, last, weights, xi);
      }
      near_.finish(device_, source_, rows[i], weights, args_, key_);
    }
  }

  // -- normals ----------------------------------------------------------------------------------------------------------

  /// The normals of a segment.
  void draw(const int64_t* rows, int n, Range groups) {
    const int64_t cols = args_.weights.cols, width = (groups.end - groups.begin) * kGroup;
    Quad quads[kSegment / kGroup * (kGroupCalls / kLanes)];
    float* to[kSegment / kGroup * (kGroupCalls / kLanes)];
    int whole = 0;
    for (int i = 0; i < n; ++i)
      for_each_quad(rows[i], cols, groups.begin, groups.end, [&](const Quad& quad) {
        float* at = xi_ + i * width + (quad.col - groups.begin * kGroup);
        if (quad.column(2) >= cols) return draw_part(quad, at);  // half a quad costs half as much
        quads[whole] = quad;
        to[whole++] = at;
      });
    const int done = draw_pairs(quads, to, whole, args_.chunk, args_.step, key_);
    if (done < whole) draw_part(quads[done], to[done]);
  }

  void draw_part(const Quad& quad, float* to) const {
    quad.with_packs(args_.weights.cols, [&](auto packs) {
      F xi[4];
      quad.normals<packs()>(args_.chunk, args_.step, Stream::CYCLE_MERGED, 0, key_, xi);
      for (int k = 0; k < packs(); ++k) store(to + 16 * k, xi[k], kLanes);
    });
  }

  // -- cells ------------------------------------------------------------------------------------------------------------

  /// The cells of columns [first, last) of a row; their normals are at xi[column].
  template <class Pulses>
  void update_cells(const Pulses pulses, int64_t row, int64_t first, int64_t last, float* weights, const float* xi) {
    const Device device = device_;  // copies, which no store can change: they stay in registers
    const BaseFields::Reader fields = fields_.of_row(row);
    const bool counts_cells = args_.counts.up != nullptr;
    U ups{}, all{};
    const auto pack = [&](int64_t col, int64_t n) {
      const PulseCount pulsed = count_pulses<false>(pulses, col);
      ups += pulsed.up, all += pulsed.all;
      if (counts_cells) count_cells(args_, row, col, pulsed.up, pulsed.all);
      const F w = load(weights + col, n), n_up = to_f(as_i(pulsed.up)), n_dn = to_f(as_i(pulsed.all - pulsed.up));
      F beyond;
      const F stepped = merged_constant_steps(device, w, device.cell(fields.at(col, n)), n_up, n_dn, load(xi + col, kLanes), beyond);
      const F moved = select(pulsed.all != 0u, stepped, w);
      if (any_positive(beyond)) keep(col, n, weights, w, moved, beyond > 0.0f);
      else store(weights + col, moved, n);
    };
    int64_t col = first;
    for (; col + kLanes <= last; col += kLanes) pack(col, kLanes);
    if (col < last) pack(col, last - col);
    totals_.up += sum(ups);
    totals_.down += sum(all - ups);
  }

  /// Stores a pack, except for the cells near a bound, which are noted.
  RPU_FN void keep(int64_t col, int64_t n, float* weights, F before, F moved, M near_bound) {
    near_bound &= first_lanes(n);
    near_.note(col, near_bound);
    store(weights + col, select(near_bound, before, moved), n);
  }

  const UpdateArgs& args_;
  const Device device_;
  const Key key_;
  Source source_;
  const BaseFields fields_;
  PulseTotals totals_{0, 0};
  NearCells<Device> near_;
  alignas(64) float xi_[kSegment];
};

RPU_END
