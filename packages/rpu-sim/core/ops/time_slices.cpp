#include "time_slices.hpp"

#include <cmath>

#include "../cpu/dispatch.hpp"
#include "../physics/ladder.hpp"
#include "../physics/slices.hpp"
#include "batches.hpp"

namespace rpu {
namespace {

constexpr int64_t kOutputsPerTask = 16;

struct Workspace {
  Buffer<float> weights, idle, noise, largest;
  Buffer<int32_t> segment_of[2];
};

Workspace& workspace() {
  thread_local Workspace buffers;
  return buffers;
}

float largest_magnitude(const ConstMatrix& w) {
  float* of_row = workspace().largest.sized(w.rows);
  over_rows(w.rows, w.cols, 100, [&](Range rows) { kernels().update.row_abs_max(w, rows, of_row); });
  return *std::max_element(of_row, of_row + w.rows);
}

/// Segment of every input, for outputs whose ADC is at either end.
void place_inputs(int64_t inputs, const TimeSlices& slices, int64_t per_segment, int32_t* even, int32_t* odd) {
  for (int64_t j = 0; j < inputs; ++j) {
    even[j] = segment_of_input(slices, per_segment, inputs, j, false);
    odd[j] = segment_of_input(slices, per_segment, inputs, j, true);
  }
}

/// The damped weights of some outputs.
struct Columns {
  const Mvm& call;
  int64_t out_step, in_step;  // elements from one output, and from one input, to the next
  double kappa;  // uS per unit of weight
  double wire;   // MOhm per segment
  const int32_t* segment_of[2];
  float *weights, *idle, *noise;  // noise: three matrices, or null

  void run(int64_t first, int64_t last) const {
    const TimeSlices& slices = call.io.array.slices;
    const int64_t n = slices.segments;
    thread_local Buffer<double> sums;
    double* segments = sums.sized((last - first) * n);
    std::fill(segments, segments + (last - first) * n, 0.0);
    for_each_run(first, last, [&](int64_t i, Range inputs_of_segment, int32_t s) {
      const float* w = call.weights.data + i * out_step;
      double sum = segments[(i - first) * n + s];
      for (int64_t j = inputs_of_segment.begin; j < inputs_of_segment.end; ++j)
        sum += pair_conductance(slices, kappa, w[j * in_step]);
      segments[(i - first) * n + s] = sum;
    });
    for (int64_t i = first; i < last; ++i) {
      const double r = ladder_factors(segments + (i - first) * n, n, wire);
      idle[i] = idle_result(slices, kappa, r);
    }
    for_each_run(first, last, [&](int64_t i, Range inputs_of_segment, int32_t s) {
      const double a = segments[(i - first) * n + s];
      const float damping = static_cast<float>(a);
      const float* w = call.weights.data + i * out_step;
      float* damped = weights + i * out_step;
      for (int64_t j = inputs_of_segment.begin; j < inputs_of_segment.end; ++j)
        damped[j * in_step] = w[j * in_step] * damping;
      if (noise != nullptr)
        for (int64_t j = inputs_of_segment.begin; j < inputs_of_segment.end; ++j) set_noise(i, j, a);
    });
  }

  /// Calls body(output, inputs, segment) for inputs that lie in one segment, whichever end the ADC of the output is at.
  template <class Body> void for_each_run(int64_t first, int64_t last, Body&& body) const {
    const int64_t inputs = call.input.cols;
    const int32_t *even = segment_of[0], *odd = segment_of[1];
    for (int64_t begin = 0, end = 0; begin < inputs; begin = end) {
      while (end < inputs && even[end] == even[begin] && odd[end] == odd[begin]) ++end;
      for (int64_t i = first; i < last; ++i) body(i, Range{begin, end}, segment_of[i & 1][begin]);
    }
  }

  /// M2, M1 and M0 of physics/pulse_read_noise.hpp.
  void set_noise(int64_t i, int64_t j, double a) const {
    const int64_t here = i * out_step + j * in_step, size = call.weights.rows * call.weights.cols;
    set_noise_weights(kappa, a, call.weights.data[here], noise + here, size);
  }
};

}  // namespace

SlicedArray slice_array(const Mvm& call) {
  const TimeSlices& slices = call.io.array.slices;
  const ConstMatrix& w = call.weights;
  const int64_t inputs = call.input.cols, outputs = call.output.cols;
  Workspace& buffers = workspace();
  const float largest = largest_magnitude(w);
  const double kappa = conductance_scale(slices, largest);
  const int64_t per_segment = divided(std::max<int64_t>(slices.physical_inputs, inputs), slices.segments);
  int32_t* even = buffers.segment_of[0].sized(inputs);
  int32_t* odd = buffers.segment_of[1].sized(inputs);
  place_inputs(inputs, slices, per_segment, even, odd);
  const bool backward = call.io.backward;
  const Columns columns{call, backward ? 1 : w.cols, backward ? w.cols : 1, kappa, static_cast<double>(slices.wire) * static_cast<double>(per_segment), 
                        {even, odd}, buffers.weights.sized(w.rows * w.cols), buffers.idle.sized(outputs),
                        slices.read_noise > 0.0f ? buffers.noise.sized(3 * w.rows * w.cols) : nullptr};
  parallel_for(divided(outputs, kOutputsPerTask), 4 * w.rows * w.cols, [&](int64_t task) {
    columns.run(task * kOutputsPerTask, std::min(outputs, (task + 1) * kOutputsPerTask));
  });
  return {{columns.weights, w.rows, w.cols, w.cols}, columns.idle, charge_step(slices, kappa, call.io.dac.step),
          columns.noise, pulse_noise_scale(slices, kappa)};
}

}  // namespace rpu
