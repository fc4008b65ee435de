// Operations on a weight matrix: modified copies, clipping, remapping. Bounds and scales are found on the device.
#include <algorithm>
#include <cmath>

#include "../physics/remap.hpp"
#include "../physics/resolution.hpp"
#include "statistics.hpp"

RPU_BEGIN

using params::WeightClipType;
using params::WeightModifierType;
using params::WeightRemapType;

constexpr int kMostNoise = 32;                 // coefficients of the polynomial of a modifier
constexpr float kSmallestReference = 1e-30f;  // below it a matrix counts as zero: its grid has no normal step

/// A of the modifiers, and the grid that follows from it.
struct ReferenceWeight {
  params::WeightModifierParameter parameters;
  const float* of_row;
  int64_t rows;
  double steps;  // of the grid, or 0
  ModifyArgs* out;  // only a_max and grid are written

  struct Shared {
    float best[kThreads];
  };
  struct Registers {};

  RPU_DEVICE_FN void operator()(Block<Registers>& block, Shared& shared) const {
    find_best(block, shared.best, rows, 0.0f, [&](int64_t row) { return of_row[row]; }, IsLarger{});
    block.phase([&](int thread, Registers&) {
      if (thread == 0) store(shared.best[0]);
    });
  }

 private:
  RPU_DEVICE_FN void store(float most) const {
    const float actual = most > kSmallestReference ? most : 1.0f;
    const float a_max = parameters.rel_to_actual_wmax ? actual : parameters.assumed_wmax;
    out->a_max = a_max;
    out->grid = converter_of(steps, parameters.type == WeightModifierType::DOREFA ? parameters.dorefa_clip : a_max,
                             parameters.sto_round);
  }
};

template <class Modifier> struct ModifyQuads {
  ModifyArgs args;
  params::WeightModifierParameter parameters;
  float noise[kMostNoise];
  const ModifyArgs* found;

  RPU_FN void operator()(int64_t row, const Quad& quad) const {
    ModifyArgs known = args;
    known.parameters = &parameters;
    known.noise = noise;
    known.a_max = found->a_max;
    known.grid = found->grid;
    const Modifier modifier(known);
    modify_quad(known, modifier, make_key(known.seed), row, quad);
    const int64_t last = args.source.cols - 1;
    if (parameters.copy_last_column && quad.col == last / kGroup * kGroup + last % 16)  // the quad that holds it
      args.out.data[row * args.out.stride + last] = args.source.data[row * args.source.stride + last];
  }
};

struct CopyCells {
  ConstMatrix source;
  Matrix out;

  RPU_FN void operator()(int64_t row, const Quad& quad) const {
    for (int k = 0; k < 4; ++k)
      if (quad.column(k) < source.cols)
        out.data[row * out.stride + quad.column(k)] = source.data[row * source.stride + quad.column(k)];
  }
};

/// Clips to *bound, or copies where it is 0.
struct ClipCells {
  ConstMatrix source;
  Matrix out;
  const float* bound;

  RPU_FN void operator()(int64_t row, const Quad& quad) const {
    for (int k = 0; k < 4; ++k) {
      if (quad.column(k) >= source.cols) break;
      const float w = source.data[row * source.stride + quad.column(k)];
      out.data[row * out.stride + quad.column(k)] = *bound == 0.0f ? w : clip(w, -*bound, *bound);
    }
  }
};

/// The bound of a clip, from the largest values of the rows where it is their mean; 0 is none.
struct ClipBound : SumFold {
  params::WeightClipParameter parameters;
  const float* of_row;
  int64_t rows, cells;
  const double* squares;  // sum of squares around the mean, over n - 1
  float* out;

  ClipBound(const params::WeightClipParameter& p, const float* maxima, int64_t n_rows, int64_t n_cells,
            const double* variance, float* bound)
      : parameters(p), of_row(maxima), rows(n_rows), cells(n_cells), squares(variance), out(bound) {}

  /// The number of rows that are read.
  int64_t summed() const { return parameters.type == WeightClipType::AVERAGE_CHANNEL_MAX ? rows : 0; }

  RPU_FN double read(int64_t row) const { return of_row[row]; }
  RPU_FN void end(double sum) const {
    const float fixed = parameters.fixed_value > 0.0f ? parameters.fixed_value : 0.0f;
    float bound = fixed;
    if (parameters.type == WeightClipType::LAYER_GAUSSIAN)
      bound = static_cast<float>(parameters.sigma * (cells < 2 ? 0.0 : sqrt(*squares)));
    else if (parameters.type == WeightClipType::AVERAGE_CHANNEL_MAX)
      bound = static_cast<float>(sum / static_cast<double>(rows));
    *out = fixed > 0.0f && fixed < bound ? fixed : bound;
  }
};

/// 1 where the largest of all rows is not above the bound, or where there is none (null, or 0).
struct IsWithin {
  const float* of_row;
  int64_t rows;
  const float* bound;
  uint32_t* within;

  struct Shared {
    float best[kThreads];
  };
  struct Registers {};

  RPU_DEVICE_FN void operator()(Block<Registers>& block, Shared& shared) const {
    find_best(block, shared.best, rows, 0.0f, [&](int64_t row) { return of_row[row]; }, IsLarger{});
    block.phase([&](int thread, Registers&) {
      if (thread == 0) *within = bound == nullptr || *bound == 0.0f || shared.best[0] <= *bound ? 1u : 0u;
    });
  }
};

/// The factors of all rows, and new scales.
struct RemapFactors {
  params::WeightRemapParameter parameters;
  const float* of_row;
  int64_t rows;
  float* scales;
  double *numerator, *denominator;

  struct Shared {
    float largest[kThreads], smallest[kThreads];
  };
  struct Registers {};

  RPU_DEVICE_FN void operator()(Block<Registers>& block, Shared& shared) const {
    find_best(block, shared.largest, rows, 0.0f, [&](int64_t row) { return of_row[row]; }, IsLarger{});
    find_best(block, shared.smallest, rows, scales[0], [&](int64_t row) { return scales[row]; }, IsSmaller{});
    block.phase([&](int thread, Registers&) {
      const float limit = limit_of(shared.smallest[0]);
      for (int64_t row = thread; row < rows; row += kThreads) rescale(row, shared.largest[0], limit);
    });
  }

 private:
  RPU_FN bool channelwise() const { return parameters.type == WeightRemapType::CHANNELWISE_SYMMETRIC; }
  RPU_FN float limit_of(float smallest) const {
    if (!(parameters.max_scale_range > 0.0f && channelwise() && smallest > 0.0f)) return 0.0f;
    return parameters.max_scale_range * (smallest > parameters.max_scale_ref ? smallest : parameters.max_scale_ref);
  }
  RPU_DEVICE_FN void rescale(int64_t row, float largest, float limit) const {
    const RowScale scale = remapped_scale(parameters, channelwise() ? of_row[row] : largest, limit, scales[row]);
    numerator[row] = scale.numerator, denominator[row] = scale.denominator;
    scales[row] = scale.scale;
  }
};

struct RescaleCells {
  RescaleArgs args;

  RPU_FN void operator()(int64_t row, const Quad& quad) const {
    for (int k = 0; k < 4; ++k) {
      if (quad.column(k) >= args.source.cols) break;
      const float w = args.source.data[row * args.source.stride + quad.column(k)];
      args.out.data[row * args.out.stride + quad.column(k)] = rescaled(w, args.numerator[row], args.denominator[row]);
    }
  }
};

struct WeightsWorkspace {
  float *of_row, *last_column, *bound;
  double *partial, *moments, *numerator, *denominator;
  ModifyArgs* found;

  WeightsWorkspace(Arena& arena, int64_t rows)
      : of_row(arena.take<float>(rows)),
        last_column(arena.take<float>(rows)),
        bound(arena.take<float>(1)),
        partial(arena.take<double>(rows * kPartialSums)),
        moments(arena.take<double>(2)),
        numerator(arena.take<double>(rows)),
        denominator(arena.take<double>(rows)),
        found(arena.take<ModifyArgs>(1)) {}
};

/// Largest magnitude of each row, with NaN and infinity noted.
inline void row_maxima(const ConstMatrix& w, const RpuCall& call, float* of_row) {
  row_abs_max(stream_of(call), w, of_row);
  if (call.faults != nullptr) over_items(stream_of(call), w.rows, NoteFaults{of_row, call.faults});
}

/// The bound of a clip, from the largest values of the rows.
inline void find_bound(const params::WeightClipParameter& parameters, const ConstMatrix& source, const WeightsWorkspace& w,
                       Stream_t stream) {
  const auto n = static_cast<double>(source.rows * source.cols);
  if (parameters.type == WeightClipType::LAYER_GAUSSIAN && n >= 2.0) {
    over_items(stream, source.rows * kPartialSums, PartialMoments{source, nullptr, 1, w.partial});
    in_order(stream, source.rows, TotalMoment(w.partial, n, w.moments));
    over_items(stream, source.rows * kPartialSums, PartialMoments{source, w.moments, 2, w.partial});
    in_order(stream, source.rows, TotalMoment(w.partial, n - 1.0, w.moments + 1));
  }
  const ClipBound bound(parameters, w.of_row, source.rows, source.rows * source.cols, w.moments + 1, w.bound);
  in_order(stream, bound.summed(), bound);
}

RPU_END

namespace rpu::RPU_LEVEL {

void run_modify(const ModifyCall& call, const RpuCall& on) {
  const params::WeightModifierParameter parameters = *call.args.parameters;
  ModifyArgs args = call.args;
  if (args.n_noise > kMostNoise)
    throw Error(ErrorKind::Config, "a modifier on a GPU has at most " + std::to_string(kMostNoise) + " coefficients");
  const ConstMatrix& source = args.source;
  const Stream_t stream = stream_of(on);
  const auto w = workspace<WeightsWorkspace>(on, source.rows);
  ConstMatrix seen = source;
  if (parameters.copy_last_column) {
    row_maxima({source.data + source.cols - 1, source.rows, 1, source.stride}, on, w.last_column);
    --seen.cols;
  }
  row_maxima(seen, on, w.of_row);
  const double steps = steps_of(parameters.res);
  over_blocks(stream, 1, 1, ReferenceWeight{parameters, w.of_row, source.rows, steps, w.found});
  for (int64_t i = 0; i < call.copies; ++i, ++args.sample, args.out.data += source.rows * source.cols) {
    if (parameters.type == WeightModifierType::NONE) {
      over_quads(stream, source.rows, source.cols, CopyCells{source, args.out});
      continue;
    }
    for_modifier(parameters.type, [&](auto tag) {
      ModifyQuads<typename decltype(tag)::Modifier> body{args, parameters, {}, w.found};
      std::copy_n(call.args.noise, args.n_noise, body.noise);
      over_quads(stream, source.rows, source.cols, body);
    });
  }
}

void run_clip_weights(const ClipWeightsCall& call, const RpuCall& on) {
  const ConstMatrix& source = call.source;
  const Stream_t stream = stream_of(on);
  if (source.rows == 0 || source.cols == 0) return;
  const auto w = workspace<WeightsWorkspace>(on, source.rows);
  row_maxima(source, on, w.of_row);
  if (call.parameters.type == WeightClipType::NONE)
    return over_quads(stream, source.rows, source.cols, CopyCells{source, call.out});
  find_bound(call.parameters, source, w, stream);
  over_quads(stream, source.rows, source.cols, ClipCells{source, call.out, w.bound});
}

void run_is_clipped(const IsClippedCall& call, const RpuCall& on) {
  const ConstMatrix& source = call.source;
  const Stream_t stream = stream_of(on);
  const auto w = workspace<WeightsWorkspace>(on, source.rows);
  row_maxima(source, on, w.of_row);
  const bool clips = call.parameters.type != WeightClipType::NONE && source.rows > 0 && source.cols > 0;
  if (clips) find_bound(call.parameters, source, w, stream);
  over_blocks(stream, 1, 1, IsWithin{w.of_row, source.rows, clips ? w.bound : nullptr, call.within});
}

void run_remap_weights(const RemapWeightsCall& call, const RpuCall& on) {
  const ConstMatrix& source = call.source;
  const Stream_t stream = stream_of(on);
  const auto w = workspace<WeightsWorkspace>(on, source.rows);
  row_maxima(source, on, w.of_row);
  if (call.parameters.type == WeightRemapType::NONE)
    return over_quads(stream, source.rows, source.cols, CopyCells{source, call.out});
  if (source.rows == 0) return;
  over_blocks(stream, 1, 1, RemapFactors{call.parameters, w.of_row, source.rows, call.scales, w.numerator, w.denominator});
  over_quads(stream, source.rows, source.cols, RescaleCells{{source, call.out, w.numerator, w.denominator}});
}

}  // namespace rpu::RPU_LEVEL
