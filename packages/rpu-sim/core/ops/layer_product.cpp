#include "layer_product.hpp"

#include <algorithm>
#include <cmath>
#include <string>

#include "../cpu/dispatch.hpp"
#include "../cpu/float_environment.hpp"
#include "../errors.hpp"
#include "accelerator.hpp"
#include "batches.hpp"
#include "row_blocks.hpp"

namespace rpu {
namespace {

struct Workspace {
  Buffer<float> inputs, gain, largest;
};

Workspace& workspace() {
  thread_local Workspace buffers;
  return buffers;
}

/// Calls kernel(rows) -> float for all rows of about `cols` numbers, in parallel; returns the largest result, NaN on top.
template <class Kernel> float largest_over(int64_t rows, int64_t cols, Kernel&& kernel) {
  const RowBlocks blocks(rows, cols);
  float* largest = workspace().largest.sized(blocks.count());
  parallel_for(blocks.count(), blocks.cells() / 4, [&](int64_t i) { largest[i] = kernel(blocks[i]); });
  float most = 0.0f;
  for (int64_t i = 0; i < blocks.count(); ++i)
    if (!(largest[i] <= most)) most = largest[i];
  return most;
}

/// W', or W where nothing is done to it.
ConstMatrix read_weights(const LayerProduct& call) {
  const ConstMatrix w = call.read.weights;
  if (call.scales.data == nullptr && call.modifier == nullptr) return w;
  ConstMatrix source = w;
  if (call.scales.data != nullptr) {
    over_rows(w.rows, w.cols, 200, [&](Range rows) {
      kernels().layer.divide_rows(w, call.scales.data, call.scales.one, call.copy, rows);
    });
    source = {call.copy, w.rows, w.cols, w.cols};
  }
  if (call.modifier != nullptr)
    modify_weights(*call.modifier, source, call.copy, 1, call.read.seed, call.read.step, call.read.first_sample);
  return {call.copy, w.rows, w.cols, w.cols};
}

/// The inputs as the array or its DAC gets them, contiguous.
class Inputs {
 public:
  explicit Inputs(const LayerProduct& call)
      : converted(converts_elements(call.read.io) && accelerator() == nullptr), lines_(call.patches.lines(call.channels_last)) {
    const Patches& patches = call.patches;
    // Rows a power of two apart would thrash the cache.
    stride = converted && patches.are_rows() ? divided(lines_.length, 16) * 16 + 16 : lines_.length;
    data = call.x;
    if (!converted && call.range <= 0.0f && !call.channels_last) return;  // the product itself looks for NaN
    float* out = workspace().inputs.sized(lines_.number * stride);
    const InputArgs args{call.x, lines_, InputForm::kUnits, call.range, converted ? &call.read.io : nullptr,
                         element_scale(call.read.io), out, stride};
    largest = largest_over(lines_.number, lines_.length, [&](Range lines) { return kernels().layer.inputs(args, lines); });
    const bool fine = call.range > 0.0f ? !std::isnan(largest) : std::isfinite(largest);
    if (!fine) throw Error(ErrorKind::NonFinite, "x contains NaN or infinity; nothing was computed");
    data = out;
  }

  bool converted;
  const float* data;
  int64_t stride;
  float largest = 0.0f;

 private:
  Lines lines_;
};

/// r s, or null where it is 1.
const float* gain_of(const LayerProduct& call, int64_t outputs) {
  if (call.range <= 0.0f && call.scales.data == nullptr) return nullptr;
  const float r = call.range > 0.0f ? call.range : 1.0f;
  float* gain = workspace().gain.sized(outputs);
  for (int64_t i = 0; i < outputs; ++i) gain[i] = call.scales.of(i) * r;
  return gain;
}

}  // namespace

LayerMagnitudes layer_product(const LayerProduct& call) {
  const Patches& patches = call.patches;
  if (patches.samples() == 0) return {0.0f, 0.0f};
  const FloatEnvironment pinned;
  const Inputs inputs(call);
  Mvm read = call.read;
  read.weights = read_weights(call);
  read.converted = inputs.converted;
  if (patches.are_rows()) {
    read.input = {inputs.data, patches.samples(), patches.elements(), inputs.stride};
    mvm(read);
  } else {
    mvm(read, patches.windows(inputs.data));
  }
  const Matrix& z = call.read.output;
  const OutputArgs args{{z.data, z.rows, z.cols, z.stride}, call.y, gain_of(call, z.cols), call.bias};
  const float output = largest_over(z.rows, z.cols, [&](Range rows) { return kernels().layer.outputs(args, rows); });
  return {inputs.largest, output};
}

}  // namespace rpu
