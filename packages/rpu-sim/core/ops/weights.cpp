#include "weights.hpp"

#include <algorithm>
#include <cmath>

#include "../cpu/dispatch.hpp"
#include "../cpu/float_environment.hpp"
#include "../cpu/thread_pool.hpp"
#include "../errors.hpp"
#include "../physics/remap.hpp"
#include "accelerator.hpp"
#include "batches.hpp"
#include "io_spec.hpp"
#include "row_blocks.hpp"

namespace rpu {
namespace {

using params::WeightClipType;
using params::WeightModifierType;
using params::WeightRemapType;

/// A matrix without a larger weight counts as zero: grids of smaller ones have steps that are no normal numbers.
constexpr float kSmallestReference = 1e-30f;

template <class Body> void over_rows(const ConstMatrix& w, double ns_per_cell, Body&& body) {
  const RowBlocks blocks(w.rows, w.cols);
  const auto work = static_cast<int64_t>(ns_per_cell * static_cast<double>(blocks.cells()));
  parallel_for(blocks.count(), work, [&](int64_t i) { body(blocks[i]); });
}

/// Largest absolute weight of each row.
std::vector<float> row_maxima(const ConstMatrix& w) {
  std::vector<float> largest(static_cast<size_t>(w.rows), 0.0f);
  const auto kernel = kernels().update.row_abs_max;
  over_rows(w, 0.1, [&](Range rows) { kernel(w, rows, largest.data()); });
  for (const float v : largest)
    if (!std::isfinite(v)) throw Error(ErrorKind::NonFinite, "the weights contain NaN or infinity; find where they come from");
  return largest;
}

float largest_of(const std::vector<float>& values) {
  return values.empty() ? 0.0f : *std::max_element(values.begin(), values.end());
}

double sum_in_order(const std::vector<double>& values) {
  double total = 0.0;
  for (const double v : values) total += v;
  return total;
}

/// Sum over the matrix of (w - mean)^power.
double moment(const ConstMatrix& w, double mean, int power) {
  std::vector<double> sums(static_cast<size_t>(w.rows));
  const auto kernel = kernels().weights.row_sums;
  over_rows(w, 0.3, [&](Range rows) { kernel(w, mean, power, rows, sums.data()); });
  return sum_in_order(sums);
}

/// A, the weight that noise and grid are relative to.
float reference_weight(const params::WeightModifierParameter& p, const ConstMatrix& w) {
  ConstMatrix seen = w;
  if (p.copy_last_column) {
    row_maxima({w.data + w.cols - 1, w.rows, 1, w.stride});
    --seen.cols;
  }
  const float largest = largest_of(row_maxima(seen));
  if (!p.rel_to_actual_wmax) return p.assumed_wmax;
  return largest > kSmallestReference ? largest : 1.0f;
}

double standard_deviation(const ConstMatrix& w) {
  const auto n = static_cast<double>(w.rows * w.cols);
  if (n < 2.0) return 0.0;
  return std::sqrt(moment(w, moment(w, 0.0, 1) / n, 2) / (n - 1.0));
}

double mean_channel_maximum(const std::vector<float>& maxima) {
  return sum_in_order({maxima.begin(), maxima.end()}) / static_cast<double>(maxima.size());
}

/// 0 is no bound.
float clip_bound(const params::WeightClipParameter& p, const ConstMatrix& w, const std::vector<float>& maxima) {
  const float fixed = std::max(p.fixed_value, 0.0f);
  if (p.type == WeightClipType::NONE || maxima.empty() || w.cols == 0) return 0.0f;
  if (p.type == WeightClipType::FIXED_VALUE) return fixed;
  const float bound = static_cast<float>(p.type == WeightClipType::LAYER_GAUSSIAN ? p.sigma * standard_deviation(w)
                                                                                  : mean_channel_maximum(maxima));
  return fixed > 0.0f ? std::min(bound, fixed) : bound;
}

void copy(const ConstMatrix& source, float* out) {
  for (int64_t row = 0; row < source.rows; ++row)
    std::copy_n(source.data + row * source.stride, source.cols, out + row * source.cols);
}

}  // namespace

void modify_weights(const ModifierSpec& spec, const ConstMatrix& source, float* out, int64_t copies, uint64_t seed,
                    uint32_t step, uint32_t first_sample) {
  const FloatEnvironment pinned;
  const params::WeightModifierParameter& p = spec.parameters;
  ModifyArgs args{&p, spec.noise.data(), static_cast<int>(spec.noise.size()), spec.log_time, spec.read_noise,
                  0.0f, {}, source, {out, source.rows, source.cols, source.cols}, seed, step, first_sample};
  if (runs_elsewhere(Operation::modify, ModifyCall{args, copies})) return;
  args.a_max = source.cols > 0 ? reference_weight(p, source) : 1.0f;
  args.grid = make_converter(p.res, p.type == WeightModifierType::DOREFA ? p.dorefa_clip : args.a_max, p.sto_round);
  const auto kernel = kernels().weights.modify;
  for (int64_t i = 0; i < copies; ++i, ++args.sample, args.out.data += source.rows * source.cols) {
    if (p.type == WeightModifierType::NONE) copy(source, args.out.data);
    else over_rows(source, 1.0, [&](Range rows) { kernel(args, rows); });
  }
}

void clip_weights(const params::WeightClipParameter& clip, const ConstMatrix& source, const Matrix& out) {
  if (runs_elsewhere(Operation::clip_weights, ClipWeightsCall{clip, source, out})) return;
  const FloatEnvironment pinned;
  const float bound = clip_bound(clip, source, row_maxima(source));
  if (bound == 0.0f) return copy(source, out.data);
  const auto kernel = kernels().weights.clip;
  over_rows(source, 0.1, [&](Range rows) { kernel(source, out, bound, rows); });
}

bool is_clipped(const params::WeightClipParameter& clip, const ConstMatrix& w) {
  if (const Accelerator* where = accelerator()) {
    Returned within(*where);
    const IsClippedCall call{clip, w, within.at()};
    run_on(*where, Operation::is_clipped, &call);
    return within.value() != 0;
  }
  const FloatEnvironment pinned;
  const std::vector<float> maxima = row_maxima(w);
  const float bound = clip_bound(clip, w, maxima);
  return bound == 0.0f || largest_of(maxima) <= bound;
}

bool clip_in_place(const params::WeightClipParameter& clip, const Matrix& w, const float* scale, bool one_scale) {
  const FloatEnvironment pinned;
  thread_local Buffer<float> buffer;
  ConstMatrix physical{w.data, w.rows, w.cols, w.stride};
  if (scale != nullptr) {
    float* divided = buffer.sized(w.rows * w.cols);
    over_rows(physical, 0.2, [&](Range rows) { kernels().layer.divide_rows(physical, scale, one_scale, divided, rows); });
    physical = {divided, w.rows, w.cols, w.cols};
  }
  const std::vector<float> maxima = row_maxima(physical);
  const float bound = clip_bound(clip, physical, maxima);
  if (bound == 0.0f || largest_of(maxima) <= bound) return false;
  over_rows(physical, 0.2, [&](Range rows) {
    for (int64_t row = rows.begin; row < rows.end; ++row) {
      if (maxima[static_cast<size_t>(row)] <= bound) continue;
      const float unit = scale == nullptr ? 1.0f : scale[one_scale ? 0 : row];
      const float* from = physical.data + row * physical.stride;
      float* to = w.data + row * w.stride;
      for (int64_t col = 0; col < w.cols; ++col)
        if (std::fabs(from[col]) > bound) to[col] = std::copysign(bound, from[col]) * unit;
    }
  });
  return true;
}

void remap_weights(const params::WeightRemapParameter& remap, const ConstMatrix& source, const Matrix& out, float* scales) {
  if (runs_elsewhere(Operation::remap_weights, RemapWeightsCall{remap, source, out, scales})) return;
  const FloatEnvironment pinned;
  std::vector<float> maxima = row_maxima(source);
  if (remap.type == WeightRemapType::NONE) return copy(source, out.data);
  if (remap.type == WeightRemapType::LAYERWISE_SYMMETRIC) std::fill(maxima.begin(), maxima.end(), largest_of(maxima));
  const size_t n = maxima.size();
  float limit = 0.0f;
  if (remap.max_scale_range > 0.0f && remap.type == WeightRemapType::CHANNELWISE_SYMMETRIC && n > 0) {
    const float smallest = *std::min_element(scales, scales + n);
    if (smallest > 0.0f) limit = remap.max_scale_range * std::max(smallest, remap.max_scale_ref);
  }
  std::vector<double> numerator(n), denominator(n);
  for (size_t i = 0; i < n; ++i) {
    const RowScale row = remapped_scale(remap, maxima[i], limit, scales[i]);
    numerator[i] = row.numerator, denominator[i] = row.denominator;
    scales[i] = row.scale;
  }
  const auto kernel = kernels().weights.rescale;
  const RescaleArgs args{source, out, numerator.data(), denominator.data()};
  over_rows(source, 0.5, [&](Range rows) { kernel(args, rows); });
}

}  // namespace rpu
