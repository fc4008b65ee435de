// What the digital periphery does with the elements of arrays: buffers between devices, sums of arrays, windows, maxima.
#include "../bodies/overlaps.hpp"
#include "../bodies/transfer.hpp"
#include "../physics/whole_steps.hpp"
#include "statistics.hpp"

RPU_BEGIN

struct TakeSteps {
  BufferRule rule;
  BufferedSlice slice;
  uint32_t* any;

  RPU_DEVICE_FN void operator()(int64_t i) const {
    if (take_step(rule, slice, i) != 0.0f) atomic_or(any, 1u);
  }
};

struct TakeWholeSteps {
  TakeWholeStepsCall call;

  RPU_DEVICE_FN void operator()(int64_t i) const {
    const int64_t row = i / call.chi.cols, col = i % call.chi.cols;
    int32_t steps = 0;
    if (is_row_of_turn(row, call.first, call.n, call.chi.rows))
      steps = take_whole_steps(call.chi.data[row * call.chi.stride + col], call.threshold, call.most);
    call.counts[i] = -steps;
    if (steps != 0) atomic_max(call.largest, static_cast<uint32_t>(steps < 0 ? -steps : steps));
  }
};

struct Combine {
  CombineCall call;

  RPU_FN void operator()(int64_t i) const {
    const int64_t row = i / call.out.cols, col = i % call.out.cols;
    float value = call.factor * call.source.data[row * call.source.stride + col];
    if (call.row_factor != nullptr) value *= call.row_factor[row];
    if (call.col_factor != nullptr) value *= call.col_factor[col];
    if (call.limit > 0.0f) value = within(value, call.limit);
    float* out = call.out.data + row * call.out.stride + col;
    *out = call.adds ? *out + value : value;
  }
};

struct CopyWindows {
  CopyWindowsCall call;

  RPU_FN void operator()(int64_t i) const { call.rows[i] = call.data[place_of_element(call.axes, i)]; }
};

struct AddWindows {
  Overlaps overlaps;
  const float* rows;
  float* data;

  RPU_FN void operator()(int64_t i) const { add_windows_at(overlaps, rows, i, data); }
};

RPU_END

namespace rpu::RPU_LEVEL {

void run_take_steps(const TakeStepsCall& call, const RpuCall& on) {
  zero(stream_of(on), call.any, sizeof *call.any);
  over_items(stream_of(on), call.slice.n, TakeSteps{call.rule, call.slice, call.any});
}

void run_take_whole_steps(const TakeWholeStepsCall& call, const RpuCall& on) {
  zero(stream_of(on), call.largest, sizeof *call.largest);
  over_items(stream_of(on), call.chi.rows * call.chi.cols, TakeWholeSteps{call});
}

void run_combine(const CombineCall& call, const RpuCall& on) {
  over_items(stream_of(on), call.out.rows * call.out.cols, Combine{call});
}

void run_copy_windows(const CopyWindowsCall& call, const RpuCall& on) {
  over_items(stream_of(on), call.axes.elements(), CopyWindows{call});
}

void run_add_windows(const AddWindowsCall& call, const RpuCall& on) {
  if (call.axes.elements() == 0) return;
  AddWindows body{{}, call.rows, call.data};
  if (!find_overlaps(call.axes, &body.overlaps)) throw Error(ErrorKind::Shape, "no kernel adds windows that overlap like these");
  over_items(stream_of(on), body.overlaps.places(), body);
}

void run_largest(const LargestCall& call, const RpuCall& on) { row_abs_max(stream_of(on), call.values, call.largest); }

}  // namespace rpu::RPU_LEVEL
