#include "mvm.hpp"

#include <algorithm>
#include <atomic>
#include <cfloat>
#include <cmath>
#include <string>
#include <vector>

#include "../cpu/dispatch.hpp"
#include "../cpu/float_environment.hpp"
#include "../errors.hpp"
#include "../physics/bound_management.hpp"
#include "../physics/noise_management.hpp"
#include "accelerator.hpp"
#include "array_passes.hpp"
#include "batches.hpp"

namespace rpu {
namespace {

using params::BoundManagementType;
using params::NoiseManagementType;

/// Buffers of the calling thread.
struct Workspace {
  Buffer<float> abs_max, alpha, scale, factor, inputs, windows;
  Buffer<SignedSums> sums;
  Buffer<int32_t> samples;
  Buffer<uint8_t> exceeded;
};

Workspace& workspace() {
  thread_local Workspace buffers;
  return buffers;
}

/// Scratch of the thread that runs a task, aligned to a cache line.
float* scratch(int64_t floats = kScratchFloats) {
  thread_local Buffer<float> buffer;
  return buffer.sized(floats);
}

template <class Kernel> void over_samples(bool alone, const ConstMatrix& m, int64_t ns_per_1024, Kernel&& kernel) {
  if (alone) kernel(Range{0, m.rows});
  else over_rows(m.rows, m.cols, ns_per_1024, kernel);
}

ConstMatrix rows_of(const ConstMatrix& m, int64_t first, int64_t n) {
  return {m.data + first * m.stride, n, m.cols, m.stride};
}

/// Finds the largest magnitude of every sample; returns whether all are finite.
bool finite_abs_max(bool alone, const ConstMatrix& values, float* largest) {
  over_samples(alone, values, 100, [&](Range rows) { kernels().update.row_abs_max(values, rows, largest); });
  return std::all_of(largest, largest + values.rows, [](float v) { return std::isfinite(v); });
}

void require_finite(bool finite, const char* name, const char* consequence) {
  if (!finite) throw Error(ErrorKind::NonFinite, std::string(name) + " contains NaN or infinity; " + consequence);
}

// -- noise management -----------------------------------------------------------------------------------------------

const SignedSums* signed_sums(bool alone, const ConstMatrix& input) {
  SignedSums* sums = workspace().sums.sized(input.rows);
  over_samples(alone, input, 200, [&](Range rows) { kernels().mvm.signed_sums(input, rows, sums); });
  return sums;
}

void running_means(const Mvm& call, const float* abs_max, float* alpha) {
  float mean = *call.running_mean;
  for (int64_t i = 0; i < call.input.rows; ++i) {
    if (call.freeze_mean) {
      alpha[i] = mean == 0.0f ? abs_max[i] : mean;
    } else {
      alpha[i] = mean = running_mean(mean, abs_max[i]);
    }
  }
  if (!call.freeze_mean) *call.running_mean = mean;
}

/// The scale alpha of every sample.
void noise_management(const Mvm& call, const float* abs_max, float* alpha) {
  const IoSpec& io = call.io;
  const int64_t n = call.input.rows;
  switch (io.noise_management) {
    case NoiseManagementType::NONE:
      std::fill(alpha, alpha + n, 1.0f);
      break;
    case NoiseManagementType::CONSTANT:
      std::fill(alpha, alpha + n, io.nm_thres > 0.0f ? io.nm_thres : 1.0f);
      break;
    case NoiseManagementType::ABS_MAX:
      for (int64_t i = 0; i < n; ++i) alpha[i] = limited(abs_max[i], io.nm_thres);
      break;
    case NoiseManagementType::MAX:
      over_samples(call.alone, call.input, 100, [&](Range rows) { kernels().mvm.row_max(call.input, rows, alpha); });
      for (int64_t i = 0; i < n; ++i) alpha[i] = limited(alpha[i], io.nm_thres);
      break;
    case NoiseManagementType::ABS_MAX_NP_SUM: {
      const SignedSums* sums = signed_sums(call.alone, call.input);
      for (int64_t i = 0; i < n; ++i) alpha[i] = worst_case_scale(io, abs_max[i], sums[i]);
      break;
    }
    case NoiseManagementType::AVERAGE_ABS_MAX:
      running_means(call, abs_max, alpha);
      break;
  }
}

// -- samples that are computed together -----------------------------------------------------------------------------

constexpr int64_t kFewSamples = 4;  // up to this many, the weights are read only once, ...
constexpr int64_t kWideBlocks = 4;  // ... so that tasks of several output blocks give longer runs in memory, ...
constexpr int64_t kNarrowBlocks = 2;  // ... but not so wide that there is only one

/// Samples of one part of the batch, and the rounds of bound management over them.
class Part {
 public:
  Part(const Mvm& call, const ArrayCall& array, const float* abs_max, const float* alpha, int64_t first, int64_t n)
      : call_(call),
        array_(array),
        abs_max_(abs_max == nullptr ? nullptr : abs_max + first),
        alpha_(alpha + first),
        input_(rows_of(call.input, first, n)) {
    output_ = {call.output.data + first * call.output.stride, n, call.output.cols, call.output.stride};
    draws_ = {call.seed, call.step, call.first_sample + static_cast<uint32_t>(first), 0, 0};
    blocks_ = divided(output_.cols, kOutputBlock);
    input_stride_ = divided(input_.cols, 16) * 16 + 16;  // no power of two, which would thrash the cache
  }

  void run() {
    collect_samples();
    const bool repeats = call_.io.bound_management != BoundManagementType::NONE;
    while (n_ > 0) {
      const BoundRound round = bound_round(call_.io, draws_.round);
      compute(round, repeats);
      if (!repeats || gives_up(call_.io, round)) break;
      keep_exceeded();
      ++draws_.round;
    }
  }

 private:
  /// Samples without a scale are exactly zero: there is nothing to read.
  void collect_samples() {
    samples_ = workspace().samples.sized(input_.rows);
    const bool zero_rule = call_.io.noise_management != NoiseManagementType::NONE &&
                           (call_.io.backward || call_.io.inp_noise <= 0.0f);
    for (int64_t i = 0; i < input_.rows; ++i) {
      if (zero_rule && !scales(alpha_[i])) std::fill_n(output_.data + i * output_.stride, output_.cols, 0.0f);
      else samples_[n_++] = static_cast<int32_t>(i);
    }
  }

  /// Factors before the DAC and after the ADC of every listed sample.
  void scale_samples(const BoundRound& round, float* scale, float* factor) {
    const SignedSums* sums = round.worst_case ? signed_sums(call_.alone, input_) : nullptr;
    for (int64_t i = 0; i < n_; ++i) {
      const int32_t s = samples_[i];
      float alpha = round.worst_case ? worst_case_scale(call_.io, abs_max_[s], sums[s]) : alpha_[s];
      if (!scales(alpha)) alpha = 1.0f;
      scale[i] = (1.0f / alpha) * (1.0f / round.reduction);
      factor[i] = std::min(call_.io.out_scale * (alpha * round.reduction), FLT_MAX);
    }
  }

  void compute(const BoundRound& round, bool repeats) {
    Workspace& w = workspace();
    float* scale = w.scale.sized(n_);
    float* factor = w.factor.sized(n_);
    scale_samples(round, scale, factor);

    exceeded_ = repeats ? w.exceeded.sized(blocks_ * n_) : nullptr;
    ProductArgs product{&call_.io, call_.weights, input_.data, input_.stride, samples_, factor,
                        output_,   call_.constants.out_noise, exceeded_, n_, draws_};
    if (!call_.converted) {
      float* inputs = w.inputs.sized(n_ * input_stride_);
      product.inputs = inputs, product.input_stride = input_stride_;
      const DacArgs dac{&call_.io, input_, samples_, scale, inputs, input_stride_, draws_, {}};
      if (call_.io.array.active) return read_array(dac, product);
      convert_inputs(dac);
    }
    over_outputs(1, [&](Range rows, Range blocks) { kernels().mvm.product(product, rows, blocks, scratch()); });
  }

  void convert_inputs(const DacArgs& dac) {
    const bool draws_inputs = call_.io.inp_noise > 0.0f || call_.io.dac.stochastic_rounding;
    over_samples(call_.alone, ConstMatrix{input_.data, n_, input_.cols, input_.stride}, draws_inputs ? 1500 : 200,
                 [&](Range rows) { kernels().mvm.dac(dac, rows); });
  }

  /// The same with the physics of the array.
  void read_array(const DacArgs& dac, const ProductArgs& product) {
    const Pass* passes = pass_inputs(call_, array_, dac, n_);
    const ArrayProductArgs args{product, passes, input_stride_, array_.load_per_current, array_.gain, array_.idle,
                                array_.counter_step, array_.noise_weights, array_.noise_scale,
                                call_.io.dac.per_unit / static_cast<float>(input_.cols),
                                call_.constants.voltage_offset, call_.constants.nonlinearity};
    over_outputs(buffers_per_input(call_.io.array), [&](Range rows, Range blocks) {
      kernels().mvm.array_product(args, rows, blocks, scratch(kArrayScratchFloats));
    });
  }

  /// Calls kernel(rows, blocks) for all tasks; `products` says how many matrix products each one is.
  template <class Kernel> void over_outputs(int64_t products, Kernel&& kernel) {
    const int64_t panel = panel_rows(), panels = divided(n_, panel);
    const int64_t width = blocks_per_task(), across = divided(blocks_, width);
    parallel_for(panels * across, call_.alone ? 0 : products * work_ns(panels), [&](int64_t task) {
      const int64_t row = task / across * panel, block = task % across * width;
      kernel(Range{row, std::min(n_, row + panel)}, Range{block, std::min(blocks_, block + width)});
    });
  }

  int64_t blocks_per_task() const {
    if (n_ > kFewSamples) return 1;
    return call_.io.backward && blocks_ > kWideBlocks ? kWideBlocks : kNarrowBlocks;
  }

  /// Rows of a task: many, to pack a block of weights seldom, but so few that a narrow output also gives several tasks.
  int64_t panel_rows() const {
    int64_t panel = kSamplePanel;
    while (!call_.alone && panel > 64 && divided(n_, panel) * blocks_ < 8) panel /= 2;
    return panel;
  }

  int64_t work_ns(int64_t panels) const {
    const int64_t cells = call_.weights.rows * call_.weights.cols;
    return cells * n_ / 100 + cells * panels / 16 + output_.cols * n_;
  }

  /// Shortens the list to the samples of which any output exceeded its bound.
  void keep_exceeded() {
    int64_t kept = 0;
    for (int64_t i = 0; i < n_; ++i) {
      bool any = false;
      for (int64_t block = 0; block < blocks_; ++block) any |= exceeded_[block * n_ + i] != 0;
      if (any) samples_[kept++] = samples_[i];
    }
    n_ = kept;
  }

  const Mvm& call_;
  const ArrayCall& array_;
  const float *abs_max_, *alpha_;
  ConstMatrix input_;
  Matrix output_;
  MvmDraws draws_;
  int64_t blocks_, input_stride_, n_ = 0;
  int32_t* samples_ = nullptr;
  uint8_t* exceeded_ = nullptr;
};

constexpr const char* kUncomputed = "nothing was computed";
constexpr const char* kUnchanged = "the weights were left unchanged";
constexpr int64_t kInputFloats = int64_t{1} << 22;  // 16 MB of converted inputs at a time
constexpr int64_t kWindowFloats = 1 << 16;          // 256 KB of windows, which stay in the cache with their conversions

const char* input_name(const Mvm& call) { return call.io.backward ? "d" : "x"; }

/// Computes all samples, whose largest magnitudes are known.
void compute(const Mvm& call, const float* abs_max) {
  const int64_t batch = call.input.rows;
  float* alpha = workspace().alpha.sized(batch);
  noise_management(call, abs_max, alpha);
  const ArrayCall array = prepare_array(call);
  const int64_t floats = (call.input.cols + 32) * (call.io.array.active ? buffers_per_input(call.io.array) : 1);
  const int64_t part = std::max(kSamplePanel, kInputFloats / floats / kSamplePanel * kSamplePanel);
  for (int64_t first = 0; first < batch; first += part)
    Part(call, array, abs_max, alpha, first, std::min(part, batch - first)).run();
}

/// Where samples cannot be computed in any order, or not here: with copies of all windows.
void copied_mvm(Mvm call, const Windows& windows) {
  const int64_t n = windows.samples(), width = windows.elements();
  std::vector<float> rows(static_cast<size_t>(n * width));
  copy_windows(windows, rows.data());
  call.input = {rows.data(), n, width, width};
  mvm(call);
}

void add_product(const RankUpdateArgs& args) {
  const int64_t rows = args.weights.rows, cols = args.weights.cols;
  const bool few = args.x.rows <= kFewUpdates;  // visit the weights along rows
  const int64_t height = few ? std::max<int64_t>(8, 16384 / cols / 8 * 8) : kSamplePanel;
  const int64_t width = few ? cols : kOutputBlock;
  const int64_t across = divided(cols, width);
  parallel_for(divided(rows, height) * across, rows * cols * (args.x.rows + 10) / 100, [&](int64_t task) {
    const int64_t row = task / across * height, col = task % across * width;
    kernels().mvm.rank_update(args, {row, std::min(rows, row + height)}, {col, std::min(cols, col + width)}, scratch());
  });
}

MvmCall call_elsewhere(const Mvm& call) {
  return {&call.io, call.weights, call.input, call.output, call.constants, call.running_mean,
          call.freeze_mean, call.seed, call.step, call.first_sample};
}

}  // namespace

void mvm(const std::vector<Mvm>& calls) {
  const Accelerator* where = accelerator();
  if (where == nullptr) {
    const FloatEnvironment pinned;
    for (const Mvm& call : calls)
      require_finite(finite_abs_max(false, call.input, workspace().abs_max.sized(call.input.rows)), input_name(call), kUncomputed);
    for (const Mvm& call : calls) mvm(call);
    return;
  }
  std::vector<MvmCall> elsewhere;
  for (const Mvm& call : calls)
    if (call.input.rows > 0) elsewhere.push_back(call_elsewhere(call));
  run_many_on(*where, Operation::mvm, elsewhere);
}

bool converts_elements(const IoSpec& io) {
  const bool one_scale = io.noise_management == NoiseManagementType::NONE || io.noise_management == NoiseManagementType::CONSTANT;
  return one_scale && io.bound_management == BoundManagementType::NONE && io.inp_noise <= 0.0f &&
         !io.dac.stochastic_rounding && !io.array.active;
}

float element_scale(const IoSpec& io) {
  const bool given = io.noise_management == NoiseManagementType::CONSTANT && io.nm_thres > 0.0f;
  return 1.0f / (given ? io.nm_thres : 1.0f);
}

void mvm(const Mvm& call) {
  const int64_t batch = call.input.rows;
  if (batch == 0) return;
  if (runs_elsewhere(Operation::mvm, call_elsewhere(call))) return;
  const FloatEnvironment pinned;
  float* abs_max = call.converted ? nullptr : workspace().abs_max.sized(batch);
  if (abs_max != nullptr) require_finite(finite_abs_max(call.alone, call.input, abs_max), input_name(call), kUncomputed);
  compute(call, abs_max);
}

void mvm(const Mvm& call, const Windows& windows) {
  const int64_t batch = windows.samples(), width = windows.elements();
  if (batch == 0) return;
  const bool in_turn = call.running_mean != nullptr && !call.freeze_mean;
  if (in_turn || call.io.array.active || accelerator() != nullptr) return copied_mvm(call, windows);
  const FloatEnvironment pinned;
  std::atomic<bool> finite{true};
  const int64_t most = std::max<int64_t>(16, std::min(kSamplePanel, kWindowFloats / width / 16 * 16));
  const int64_t tasks = divided(batch, 2 * most) * 2, panel = divided(divided(batch, tasks), 16) * 16;  // of equal size
  const int64_t ns = width + call.output.cols * (2 + width / 16);  // of one sample
  parallel_for(divided(batch, panel), batch * ns, [&](int64_t task) {
    const int64_t first = task * panel, n = std::min(panel, batch - first);
    const int64_t stride = call.converted ? divided(width, 16) * 16 + 16 : width;
    float* rows = workspace().windows.sized(n * stride);
    windows.copy({first, first + n}, rows, stride);
    Mvm part = call;
    part.input = {rows, n, width, stride};
    part.output = {call.output.data + first * call.output.stride, n, call.output.cols, call.output.stride};
    part.first_sample += static_cast<uint32_t>(first);
    part.alone = true;
    float* abs_max = call.converted ? nullptr : workspace().abs_max.sized(n);
    if (abs_max == nullptr || finite_abs_max(true, part.input, abs_max)) compute(part, abs_max);
    else finite.store(false, std::memory_order_relaxed);
  });
  require_finite(finite, input_name(call), kUncomputed);
}

void rank_update(const Matrix& weights, const ConstMatrix& x, const ConstMatrix& d, float lr) {
  const int64_t batch = x.rows;
  if (batch == 0 || runs_elsewhere(Operation::rank_update, RankUpdateCall{weights, x, d, lr})) return;
  const FloatEnvironment pinned;
  Workspace& w = workspace();
  require_finite(finite_abs_max(false, x, w.abs_max.sized(batch)), "x", kUnchanged);
  require_finite(finite_abs_max(false, d, w.abs_max.sized(batch)), "d", kUnchanged);

  add_outer_products(weights, x, d, -lr);
}

void add_outer_products(const Matrix& weights, const ConstMatrix& x, const ConstMatrix& d, float factor) {
  const int64_t batch = x.rows;
  const int64_t part = std::max<int64_t>(kSamplePanel, kInputFloats / weights.rows);
  for (int64_t first = 0; first < batch; first += part) {
    const ConstMatrix x_part = rows_of(x, first, std::min(part, batch - first));
    const int64_t stride = divided(x_part.rows, 16) * 16 + 16;
    float* a = workspace().inputs.sized(weights.rows * stride);
    kernels().mvm.scaled_transpose(rows_of(d, first, x_part.rows), factor, a, stride);
    add_product({weights, a, stride, x_part});
  }
}

void draw_constants(const IoSpec& io, const MvmConstants& out, int64_t rows, int64_t cols, uint64_t seed) {
  const ConstantsArgs args{&io, out, io.backward ? cols : rows, rows, cols, seed};
  if (runs_elsewhere(Operation::constants, args)) return;
  const FloatEnvironment pinned;
  kernels().mvm.constants(args);
}

}  // namespace rpu
