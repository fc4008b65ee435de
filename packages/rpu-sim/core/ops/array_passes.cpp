#include "array_passes.hpp"

#include "../cpu/dispatch.hpp"
#include "../physics/array_constants.hpp"
#include "batches.hpp"
#include "time_slices.hpp"

namespace rpu {
namespace {

using params::AnalogMVType;

/// Buffers of the calling thread.
struct Workspace {
  Buffer<float> negative_weights, place, inputs, sums;
  Pass passes[kMaxPasses];
};

Workspace& workspace() {
  thread_local Workspace buffers;
  return buffers;
}

bool reads_polarities_apart(const ArraySpec& array) {
  return array.mv_type == AnalogMVType::POS_NEG_SEPARATE ||
         array.mv_type == AnalogMVType::POS_NEG_SEPARATE_DIGITAL_SUM;
}

bool needs_power(const ArraySpec& array) { return array.pcm_read_noise || array.slices.read_noise > 0.0f; }

bool sends_bits(const ArraySpec& array) { return array.bits[0].mask != 0; }

ConstMatrix negative_weights(const Mvm& call) {
  if (call.io.array.read_asymmetry == 0.0f) return call.weights;
  const int64_t rows = call.weights.rows, cols = call.weights.cols;
  float* out = workspace().negative_weights.sized(rows * cols);
  over_rows(rows, cols, 200, [&](Range range) {
    kernels().mvm.scaled_weights(call.weights, call.constants.read_asymmetry, out, range);
  });
  return {out, rows, cols, cols};
}

const float* places(int64_t inputs) {
  float* out = workspace().place.sized(inputs);
  for (int64_t j = 0; j < inputs; ++j) out[j] = distance_factor(j, inputs);
  return out;
}

/// F of physics/nonlinearity.hpp.
float calibrated_gain(const Mvm& call) {
  const ArraySpec& array = call.io.array;
  if (!(array.slope_calibration > 0.0f)) return 1.0f;
  double sum = 0.0;
  if (call.constants.nonlinearity != nullptr)
    for (int64_t i = 0; i < call.output.cols; ++i) sum += static_cast<double>(call.constants.nonlinearity[i]);
  return calibrated_gain(array, sum / static_cast<double>(call.output.cols));
}

}  // namespace

ArrayCall prepare_array(const Mvm& call) {
  const ArraySpec& array = call.io.array;
  ArrayCall prepared{};
  if (!array.active) return prepared;
  prepared.weights = call.weights;
  prepared.negative_weights = negative_weights(call);
  if (array.slices.active) {
    const SlicedArray sliced = slice_array(call);
    prepared.weights = sliced.weights;
    prepared.idle = sliced.idle;
    prepared.counter_step = sliced.counter_step;
    prepared.noise_weights = sliced.noise_weights;
    prepared.noise_scale = sliced.noise_scale;
  }
  if (array.ir_drop > 0.0f) {
    prepared.place = places(call.input.cols);
    prepared.load_per_current = static_cast<float>(call.input.cols) / array.ir_drop_g_ratio;
  }
  prepared.gain = calibrated_gain(call);
  return prepared;
}

int64_t buffers_per_input(const ArraySpec& array) {
  const int64_t signal = sends_bits(array) + (array.slices.active || reads_polarities_apart(array));
  return 1 + array.passes * (signal + 2 * (array.ir_drop > 0.0f) + needs_power(array));
}

const Pass* pass_inputs(const Mvm& call, const ArrayCall& prepared, DacArgs dac, int64_t rows) {
  const ArraySpec& array = call.io.array;
  Workspace& w = workspace();
  const int64_t size = rows * dac.out_stride;
  float* next = w.inputs.sized(size * buffers_per_input(array));
  float* sums = w.sums.sized(3 * rows * array.passes);
  const auto buffer = [&](bool needed) {
    float* at = needed ? next : nullptr;
    next += needed ? size : 0;
    return at;
  };
  const bool draws = call.io.inp_noise > 0.0f || call.io.dac.stochastic_rounding;
  for (int p = 0; p < array.passes; ++p) {
    const bool negative = reads_polarities_apart(array) && p == 0, positive = reads_polarities_apart(array) && p == 1;
    if (sends_bits(array)) dac.out = buffer(true);
    if (sends_bits(array) || p == 0) {
      dac.draws.pass = static_cast<uint32_t>(p);
      dac.bits = array.bits[p];
      over_rows(rows, dac.input.cols, draws ? 1500 : 200, [&](Range range) { kernels().mvm.dac(dac, range); });
    }
    PassInputArgs args{};
    args.in = dac.out;
    args.stride = dac.out_stride;
    args.inputs = dac.input.cols;
    args.polarity = negative ? Polarity::kNegative : positive ? Polarity::kPositive : Polarity::kBoth;
    args.grid = array.slices.grid[p];
    args.place = prepared.place;
    args.signal = buffer(array.slices.active || negative || positive);
    args.magnitude = buffer(array.ir_drop > 0.0f);
    args.placed = buffer(array.ir_drop > 0.0f);
    args.power = buffer(needs_power(array));
    args.sum = sums + 3 * p * rows;
    args.square_sum = args.sum + rows;
    args.magnitude_sum = args.sum + 2 * rows;
    over_rows(rows, args.inputs, 300, [&](Range range) { kernels().mvm.pass_inputs(args, range); });
    w.passes[p] = {negative ? prepared.negative_weights : prepared.weights,
                   args.signal != nullptr ? args.signal : args.in,
                   args.magnitude, args.placed, args.power, args.sum, args.square_sum, args.magnitude_sum,
                   static_cast<float>(1u << array.bits[p].shift), args.grid.points * args.grid.per_point};
  }
  return w.passes;
}

}  // namespace rpu
