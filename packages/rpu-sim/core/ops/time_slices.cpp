#include "time_slices.hpp"

#include <cmath>

#include "../cpu/dispatch.hpp"
#include "../physics/ladder.hpp"
#include "batches.hpp"

namespace rpu {
namespace {

constexpr double kReadStep = 0.2, kIdleVoltage = 0.4;  // V
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

/// Segment of every input, for outputs whose ADC is at either end. Inputs are in the middle of the physical array.
void place_inputs(int64_t inputs, const TimeSlices& slices, int64_t per_segment, int32_t* even, int32_t* odd) {
  const int64_t physical = per_segment * slices.segments, before = (physical - inputs) / 2;
  for (int64_t j = 0; j < inputs; ++j) {
    even[j] = static_cast<int32_t>((before + j) / per_segment);
    odd[j] = static_cast<int32_t>((physical - 1 - before - j) / per_segment);
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
      const double scale = kappa, off = 2.0 * static_cast<double>(slices.g_min);
      double sum = segments[(i - first) * n + s];
      for (int64_t j = inputs_of_segment.begin; j < inputs_of_segment.end; ++j)
        sum += scale * std::fabs(static_cast<double>(w[j * in_step])) + off;
      segments[(i - first) * n + s] = sum;
    });
    const double offset = kIdleVoltage - static_cast<double>(slices.v_read);
    for (int64_t i = first; i < last; ++i) {
      const double r = ladder_factors(segments + (i - first) * n, n, wire);
      idle[i] = static_cast<float>(offset / (r * kReadStep * kappa));
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
    const double g = kappa * std::fabs(static_cast<double>(call.weights.data[here]));
    noise[here] = static_cast<float>(a * g * (a * g));
    noise[here + size] = static_cast<float>(2.0 * (a * a) * g);
    noise[here + 2 * size] = static_cast<float>(g > 0.0 ? a * a : 0.0);
  }
};

}  // namespace

SlicedArray slice_array(const Mvm& call) {
  const TimeSlices& slices = call.io.array.slices;
  const ConstMatrix& w = call.weights;
  const int64_t inputs = call.input.cols, outputs = call.output.cols;
  Workspace& buffers = workspace();
  const float largest = largest_magnitude(w);
  const double range = static_cast<double>(slices.g_max) - static_cast<double>(slices.g_min);
  const double kappa = range / (largest > 0.0f ? static_cast<double>(largest) : 1.0);
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
  const double unit = static_cast<double>(slices.charge_unit) / (kReadStep * kappa);
  return {{columns.weights, w.rows, w.cols, w.cols}, columns.idle,
          static_cast<float>(unit * static_cast<double>(call.io.dac.step)), columns.noise,
          static_cast<float>(static_cast<double>(slices.read_noise) / kappa)};
}

}  // namespace rpu
