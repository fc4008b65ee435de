// What a product through the array needs once per call, whatever the samples; see ops/array_passes.cpp and
// ops/time_slices.cpp.
#pragma once
#include "../physics/array_constants.hpp"
#include "../physics/ladder.hpp"
#include "../physics/slices.hpp"
#include "product.hpp"
#include "statistics.hpp"

RPU_BEGIN

/// Numbers that follow from the weights.
struct ArrayNumbers {
  double kappa;
  float gain, counter_step, noise_scale;
};

struct NonlinearSum : SumFold {
  const float* nonlinearity;
  double* out;

  NonlinearSum(const float* values, double* sum) : nonlinearity(values), out(sum) {}
  RPU_FN double read(int64_t i) const { return nonlinearity[i]; }
  RPU_FN void end(double sum) const { *out = sum; }
};

struct FindNumbers {
  IoSpec io;
  const float* largest_of_row;  // null without time slices
  int64_t rows, outputs;
  const double* nonlinear_sum;  // over the outputs; only with a slope that is calibrated
  ArrayNumbers* out;

  struct Shared {
    float largest[kThreads];
  };
  struct Registers {};

  RPU_DEVICE_FN void operator()(Block<Registers>& block, Shared& shared) const {
    if (largest_of_row != nullptr)
      find_best(block, shared.largest, rows, largest_of_row[0], [&](int64_t row) { return largest_of_row[row]; }, IsLarger{});
    block.phase([&](int thread, Registers&) {
      if (thread == 0) store(shared.largest[0]);
    });
  }

 private:
  RPU_DEVICE_FN void store(float largest) const {
    ArrayNumbers found{0.0, 1.0f, 0.0f, 0.0f};
    const ArraySpec& array = io.array;
    if (array.slope_calibration > 0.0f) found.gain = calibrated_gain(array, *nonlinear_sum / static_cast<double>(outputs));
    if (largest_of_row != nullptr) {
      found.kappa = conductance_scale(array.slices, largest);
      found.counter_step = charge_step(array.slices, found.kappa, io.dac.step);
      found.noise_scale = pulse_noise_scale(array.slices, found.kappa);
    }
    *out = found;
  }
};

struct PlaceFactors {
  int64_t inputs;
  float* out;

  RPU_FN void operator()(int64_t j) const { out[j] = distance_factor(j, inputs); }
};

struct ScaleWeights {
  ConstMatrix weights;
  const float* factors;  // [rows][cols]
  float* out;

  RPU_FN void operator()(int64_t i) const {
    out[i] = weights.data[i / weights.cols * weights.stride + i % weights.cols] * factors[i];
  }
};

/// The ladder of one output, and its damped weights.
struct DampWeights {
  TimeSlices slices;
  ConstMatrix weights;
  bool backward;
  const ArrayNumbers* numbers;
  double* segments;  // [outputs][segments]
  float *damped, *idle, *noise;

  RPU_FN void operator()(int64_t i) const {
    const int64_t inputs = backward ? weights.rows : weights.cols, n = slices.segments;
    const int64_t out_step = backward ? 1 : weights.stride, in_step = backward ? weights.stride : 1;
    const int64_t out_packed = backward ? 1 : weights.cols, in_packed = backward ? weights.cols : 1;
    const int64_t most = slices.physical_inputs > inputs ? slices.physical_inputs : inputs;
    const int64_t per_segment = (most + n - 1) / n;
    const double kappa = numbers->kappa;
    const float* w = weights.data + i * out_step;
    double* own = segments + i * n;
    for (int64_t s = 0; s < n; ++s) own[s] = 0.0;
    for (int64_t j = 0; j < inputs; ++j)
      own[segment_of_input(slices, per_segment, inputs, j, i % 2 != 0)] += pair_conductance(slices, kappa, w[j * in_step]);
    const double wire = static_cast<double>(slices.wire) * static_cast<double>(per_segment);
    idle[i] = idle_result(slices, kappa, ladder_factors(own, n, wire));
    for (int64_t j = 0; j < inputs; ++j) {
      const double a = own[segment_of_input(slices, per_segment, inputs, j, i % 2 != 0)];
      const int64_t at = i * out_packed + j * in_packed;
      damped[at] = w[j * in_step] * static_cast<float>(a);
      if (noise != nullptr) set_noise_weights(kappa, a, w[j * in_step], noise + at, weights.rows * weights.cols);
    }
  }
};

/// Arrays of a call, and what is written into them.
struct ArraySetup {
  ArrayNumbers* numbers = nullptr;
  float *largest = nullptr, *negative = nullptr, *place = nullptr, *damped = nullptr, *idle = nullptr, *noise = nullptr;
  double *segments = nullptr, *nonlinear_sum = nullptr;

  ArraySetup(Arena& arena, const MvmCall& call) {
    const ArraySpec& array = call.io->array;
    if (!array.active) return;
    const int64_t cells = call.weights.rows * call.weights.cols;
    numbers = arena.take<ArrayNumbers>(1);
    nonlinear_sum = arena.take<double>(1);
    if (array.read_asymmetry != 0.0f) negative = arena.take<float>(cells);
    if (array.ir_drop > 0.0f) place = arena.take<float>(call.input.cols);
    if (!array.slices.active) return;
    largest = arena.take<float>(call.weights.rows);
    damped = arena.take<float>(cells);
    idle = arena.take<float>(call.output.cols);
    segments = arena.take<double>(call.output.cols * array.slices.segments);
    if (array.slices.read_noise > 0.0f) noise = arena.take<float>(3 * cells);
  }

  void run(const MvmCall& call, Stream_t stream) const {
    const IoSpec& io = *call.io;
    if (!io.array.active) return;
    if (io.array.slices.active) row_abs_max(stream, call.weights, largest);
    const float* nonlinearity = call.constants.nonlinearity;
    if (io.array.slope_calibration > 0.0f)
      in_order(stream, nonlinearity != nullptr ? call.output.cols : 0, NonlinearSum(nonlinearity, nonlinear_sum));
    over_blocks(stream, 1, 1, FindNumbers{io, largest, call.weights.rows, call.output.cols, nonlinear_sum, numbers});
    if (negative != nullptr)
      over_items(stream, call.weights.rows * call.weights.cols,
                 ScaleWeights{call.weights, call.constants.read_asymmetry, negative});
    if (place != nullptr) over_items(stream, call.input.cols, PlaceFactors{call.input.cols, place});
    if (io.array.slices.active)
      over_items(stream, call.output.cols,
                 DampWeights{io.array.slices, call.weights, io.backward, numbers, segments, damped, idle, noise});
  }
};

RPU_END
