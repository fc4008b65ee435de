#include <algorithm>
#include <vector>

#include "../cpu/dispatch.hpp"
#include "../cpu/float_environment.hpp"
#include "batches.hpp"
#include "layer_product.hpp"
#include "row_blocks.hpp"

namespace rpu {
namespace {

constexpr int64_t kErrorRows = 256;       // samples of one sum of errors
constexpr int64_t kWindowRows = 128;      // windows that are copied at a time
constexpr int64_t kMostParts = 16;        // of the samples, that give a sum of the weight gradient each, ...
constexpr int64_t kLargestSum = 1 << 16;  // ... where it has at most so many elements
constexpr int64_t kPositionFloats = 1 << 16;

struct Workspace {
  Buffer<float> passed, scaled, sums, inputs, transposed, windows, parts, patches, images, ends;
  Buffer<double> dots;
};

Workspace& workspace() {
  thread_local Workspace buffers;
  return buffers;
}

/// Scratch of the thread that runs a task.
float* scratch() {
  thread_local Buffer<float> buffer;
  return buffer.sized(kScratchFloats);
}

int64_t padded(int64_t n) { return divided(n, 16) * 16; }

class Gradients {
 public:
  explicit Gradients(const LayerGradients& call)
      : call_(call), patches_(call.patches), lines_(call.patches.lines(call.channels_last)), samples_(call.d.rows),
        outputs_(call.d.cols), elements_(call.patches.elements()), passed_(call.d) {}

  void run() {
    sum_errors();
    const bool by_weight = call_.dw != nullptr && !call_.clips;  // how dr finds what comes from the inputs
    double from_inputs = 0.0;
    if (call_.dx != nullptr) from_inputs = input_gradient(call_.dr != nullptr && !by_weight);
    float* dw = call_.dw;
    const bool needs_sums = call_.dr != nullptr && (by_weight || call_.dx == nullptr);
    if (dw == nullptr && needs_sums) dw = workspace().ends.sized(outputs_ * elements_);
    if (call_.dw != nullptr || (needs_sums && !call_.clips)) weight_gradient(InputForm::kHeld, dw);
    if (needs_sums) {
      if (call_.clips) weight_gradient(InputForm::kInside, dw = workspace().ends.sized(outputs_ * elements_));
      from_inputs = dot_with_copy(dw);
    }
    if (call_.dr != nullptr) *call_.dr = static_cast<float>(from_outputs_ - from_inputs / call_.range + decay());
  }

 private:
  /// db, the part of dr that comes from the outputs, and what held outputs leave of d.
  void sum_errors() {
    const bool holds = call_.bound > 0.0f;
    if (call_.db == nullptr && call_.dr == nullptr && !holds) return;
    float* passed = holds ? workspace().passed.sized(samples_ * outputs_) : nullptr;
    const int64_t parts = divided(samples_, kErrorRows), width = 2 * outputs_;
    float* sums = workspace().sums.sized(parts * width);
    const ErrorArgs args{call_.d, call_.z, call_.bound, passed};
    parallel_for(parts, samples_ * outputs_ / 4, [&](int64_t i) {
      kernels().layer.errors(args, {i * kErrorRows, std::min(samples_, (i + 1) * kErrorRows)}, sums + i * width);
    });
    for (int64_t i = 1; i < parts; ++i) kernels().layer.add(sums + i * width, width, sums);
    if (call_.db != nullptr) std::copy_n(sums, outputs_, call_.db);
    if (call_.dr != nullptr)
      for (int64_t i = 0; i < outputs_; ++i) from_outputs_ += double{sums[outputs_ + i]} * call_.scales.of(i);
    if (holds) passed_ = {passed, samples_, outputs_, outputs_};
  }

  /// s e, which the input gradient is made of.
  ConstMatrix scaled_errors() const {
    if (call_.scales.data == nullptr) return passed_;
    float* gain = workspace().sums.sized(outputs_);
    for (int64_t i = 0; i < outputs_; ++i) gain[i] = call_.scales.of(i);
    float* scaled = workspace().scaled.sized(samples_ * outputs_);
    const OutputArgs args{passed_, {scaled, samples_, outputs_, outputs_}, gain, nullptr};
    over_rows(samples_, outputs_, 250, [&](Range rows) { kernels().layer.outputs(args, rows); });
    return {scaled, samples_, outputs_, outputs_};
  }

  // -- dx

  /// Returns the sum of dx x if it is wanted.
  double input_gradient(bool with_sum) {
    const ConstMatrix e = scaled_errors();
    return patches_.are_rows() ? gradient_of_rows(e, with_sum) : gradient_of_images(e, with_sum);
  }

  double gradient_of_rows(const ConstMatrix& e, bool with_sum) {
    const int64_t width = padded(elements_);
    float* c = width == elements_ ? call_.dx : workspace().patches.sized(samples_ * width);
    const int64_t blocks = divided(elements_, kOutputBlock), panels = divided(samples_, kSamplePanel);
    parallel_for(panels * blocks, samples_ * elements_ * outputs_ / 50, [&](int64_t task) {
      const int64_t row = task / blocks * kSamplePanel, column = task % blocks * kOutputBlock;
      const MultiplyArgs args{e.data + row * e.stride, e.stride, std::min(kSamplePanel, samples_ - row), call_.copy.data,
                              call_.copy.stride, false, outputs_, c + row * width + column, width};
      kernels().layer.multiply(args, {column, std::min(elements_, column + kOutputBlock)}, scratch());
    });
    if (c == call_.dx && !call_.clips && !with_sum) return 0.0;
    return finish(c, width, {0, samples_});
  }

  double gradient_of_images(const ConstMatrix& e, bool with_sum) {
    // [elements][outputs], so that positions lie side by side in the result
    const int64_t a_stride = padded(outputs_) + 16, pixels = patches_.pixels(), channels = patches_.channels();
    float* a = workspace().transposed.sized(elements_ * (padded(outputs_) + 16));
    kernels().mvm.scaled_transpose(call_.copy, 1.0f, a, a_stride);
    float* images = call_.channels_last ? workspace().images.sized(patches_.numbers()) : call_.dx;
    const int64_t blocks = std::min(channels, divided(int64_t{8}, patches_.images())), each = divided(channels, blocks);
    std::vector<double> sums(static_cast<size_t>(patches_.images() * blocks));
    parallel_for(patches_.images() * blocks, samples_ * elements_ * outputs_ / 40, [&](int64_t task) {
      const int64_t image = task / blocks, first = task % blocks * each, last = std::min(channels, first + each);
      if (first >= last) return;
      const Range lines{image * channels + first, image * channels + last};
      std::fill(images + lines.begin * pixels, images + lines.end * pixels, 0.0f);
      add_positions(e, a + first * patches_.taps() * a_stride, a_stride, image, last - first, images + lines.begin * pixels);
      const bool as_it_is = images == call_.dx && !call_.clips && !with_sum;
      if (!as_it_is) sums[static_cast<size_t>(task)] = finish_lines(images, pixels, lines);
    });
    double total = 0.0;
    for (const double sum : sums) total += sum;
    return total;
  }

  /// Adds the gradients of some channels of an image, in parts that stay in the cache.
  void add_positions(const ConstMatrix& e, const float* a, int64_t a_stride, int64_t image, int64_t channels, float* out) {
    const int64_t rows = channels * patches_.taps(), width = patches_.line_width(), lines = patches_.position_lines();
    const int64_t together = std::max<int64_t>(1, std::min(lines, kPositionFloats / rows / width));
    const int64_t stride = padded(together * width);
    float* c = workspace().patches.sized(rows * stride);
    for (int64_t line = 0; line < lines; line += together) {
      const int64_t n = std::min(together, lines - line);
      const float* errors = e.data + (image * patches_.positions() + line * width) * e.stride;
      const MultiplyArgs args{a, a_stride, rows, errors, e.stride, true, outputs_, c, stride};
      for (int64_t column = 0; column < n * width; column += kOutputBlock) {
        MultiplyArgs block = args;
        block.c += column;
        kernels().layer.multiply(block, {column, std::min(n * width, column + kOutputBlock)}, scratch());
      }
      patches_.add(c, stride, {line, line + n}, channels, out);
    }
  }

  double finish_lines(const float* gradient, int64_t stride, Range lines) const {
    return kernels().layer.inside({gradient, stride, call_.x, lines_, call_.clips ? call_.range : 0.0f, call_.dx}, lines);
  }

  double finish(const float* gradient, int64_t stride, Range lines) const {
    const RowBlocks blocks(lines.end, lines_.length);
    double* sums = workspace().dots.sized(blocks.count());
    parallel_for(blocks.count(), blocks.cells() / 2, [&](int64_t i) { sums[i] = finish_lines(gradient, stride, blocks[i]); });
    double total = 0.0;
    for (int64_t i = 0; i < blocks.count(); ++i) total += sums[i];
    return total;
  }

  // -- dW

  /// e^T x with the inputs in some form.
  void weight_gradient(InputForm form, float* out) const {
    const float* x = call_.x;
    if (call_.clips || call_.channels_last) {
      float* inputs = workspace().inputs.sized(patches_.numbers());
      const InputArgs args{x, lines_, form, call_.clips ? call_.range : 0.0f, nullptr, 1.0f, inputs, lines_.length};
      over_rows(lines_.number, lines_.length, 250, [&](Range lines) { kernels().layer.inputs(args, lines); });
      x = inputs;
    }
    const Matrix dw{out, outputs_, elements_, elements_};
    if (patches_.are_rows()) {
      std::fill_n(out, outputs_ * elements_, 0.0f);
      return add_outer_products(dw, {x, samples_, elements_, elements_}, passed_, 1.0f);
    }
    const Windows windows = patches_.windows(x);
    if (outputs_ * elements_ <= kLargestSum && samples_ > kWindowRows) sum_in_parts(windows, dw);
    else sum_in_turn(windows, dw);
  }

  /// The windows of some samples, in the order of the rows.
  static ConstMatrix copied(const Windows& windows, Range samples, float* rows) {
    windows.copy(samples, rows);
    return {rows, samples.end - samples.begin, windows.elements(), windows.elements()};
  }

  /// Large matrices: all threads work on the same samples.
  void sum_in_turn(const Windows& windows, const Matrix& dw) const {
    constexpr int64_t kTask = 16;
    std::fill_n(dw.data, dw.rows * dw.cols, 0.0f);
    const int64_t together = std::max(kWindowRows, (int64_t{1} << 20) / elements_ / kTask * kTask);
    float* rows = workspace().windows.sized(std::min(together, samples_) * elements_);
    for (int64_t first = 0; first < samples_; first += together) {
      const int64_t n = std::min(together, samples_ - first);
      parallel_for(divided(n, kTask), n * elements_ / 2, [&](int64_t i) {
        const Range part{first + i * kTask, std::min(first + n, first + (i + 1) * kTask)};
        windows.copy(part, rows + i * kTask * elements_);
      });
      add_outer_products(dw, {rows, n, elements_, elements_}, errors_of({first, first + n}), 1.0f);
    }
  }

  /// Small matrices: every thread has samples, and a sum, of its own.
  void sum_in_parts(const Windows& windows, const Matrix& dw) const {
    const int64_t size = dw.rows * dw.cols, each = padded(divided(samples_, kMostParts)) > kWindowRows
                                                       ? padded(divided(samples_, kMostParts)) : kWindowRows;
    const int64_t parts = divided(samples_, each), stride = padded(size) + 16;
    float* sums = workspace().parts.sized(parts * stride);
    parallel_for(parts, samples_ * size / 40, [&](int64_t part) {
      const Matrix sum{sums + part * stride, dw.rows, dw.cols, dw.cols};
      std::fill_n(sum.data, size, 0.0f);
      const int64_t end = std::min(samples_, (part + 1) * each), a_stride = kWindowRows + 16;
      Workspace& own = workspace();
      float *rows = own.windows.sized(kWindowRows * elements_), *a = own.transposed.sized(outputs_ * a_stride);
      for (int64_t first = part * each; first < end; first += kWindowRows) {
        const Range samples{first, std::min(end, first + kWindowRows)};
        kernels().mvm.scaled_transpose(errors_of(samples), 1.0f, a, a_stride);
        kernels().mvm.rank_update({sum, a, a_stride, copied(windows, samples, rows)}, {0, dw.rows}, {0, dw.cols}, scratch());
      }
    });
    const RowBlocks blocks(dw.rows, dw.cols);
    parallel_for(blocks.count(), parts * size / 8, [&](int64_t i) {
      const int64_t first = blocks[i].begin * dw.cols, n = blocks[i].end * dw.cols - first;
      std::copy_n(sums + first, n, dw.data + first);
      for (int64_t part = 1; part < parts; ++part) kernels().layer.add(sums + part * stride + first, n, dw.data + first);
    });
  }

  ConstMatrix errors_of(Range samples) const {
    return {passed_.data + samples.begin * passed_.stride, samples.end - samples.begin, outputs_, passed_.stride};
  }

  // -- dr

  /// Sum of s W' o dW: what dr gets from the inputs inside of the range, times r.
  double dot_with_copy(const float* dw) const {
    double* dots = workspace().dots.sized(outputs_);
    over_rows(outputs_, elements_, 200, [&](Range rows) { kernels().layer.row_dots(call_.copy, dw, rows, dots); });
    double total = 0.0;
    for (int64_t i = 0; i < outputs_; ++i) total += dots[i] * call_.scales.of(i);
    return total;
  }

  double decay() const {
    if (call_.decay <= 0.0f) return 0.0;
    const double beyond = call_.clips ? patches_.share_beyond(call_.x, call_.channels_last, call_.range) : 0.0;
    return 1.0 - beyond > call_.wanted ? double{call_.decay} * call_.range : 0.0;
  }

  const LayerGradients& call_;
  const Patches& patches_;
  Lines lines_;
  int64_t samples_, outputs_, elements_;
  ConstMatrix passed_;
  double from_outputs_ = 0.0;
};

}  // namespace

void layer_gradients(const LayerGradients& call) {
  if (call.patches.samples() == 0) {
    const int64_t outputs = call.d.cols;
    if (call.dw != nullptr) std::fill_n(call.dw, outputs * call.patches.elements(), 0.0f);
    if (call.db != nullptr) std::fill_n(call.db, outputs, 0.0f);
    if (call.dr != nullptr) *call.dr = 0.0f;
    return;
  }
  const FloatEnvironment pinned;
  Gradients(call).run();
}

}  // namespace rpu
