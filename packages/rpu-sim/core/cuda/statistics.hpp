// Numbers per row of a matrix.
#pragma once
#include <cfloat>

#include "../bodies/weights.hpp"
#include "plugin.hpp"
#include "reductions.hpp"

RPU_BEGIN

/// Largest |value| of each row as bits, which are ordered like the floats, with infinity and NaN on top; zeroed before.
struct RowAbsMax {
  ConstMatrix values;
  uint32_t* largest;

  RPU_DEVICE_FN void operator()(int64_t row, const Quad& quad) const {
    U most = 0;
    for (int k = 0; k < 4; ++k) {
      if (quad.column(k) >= values.cols) break;
      const U magnitude = f_to_bits(abs_(values.data[row * values.stride + quad.column(k)]));
      most = magnitude > most ? magnitude : most;
    }
    atomic_max(largest + row, most);
  }
};

inline void row_abs_max(Stream_t stream, const ConstMatrix& values, float* largest) {
  zero(stream, largest, values.rows * 4);
  over_quads(stream, values.rows, values.cols, RowAbsMax{values, reinterpret_cast<uint32_t*>(largest)});
}

RPU_FN bool is_finite(float magnitude) { return magnitude <= FLT_MAX; }

/// Notes rows that hold NaN or infinity.
struct NoteFaults {
  const float* largest;
  uint32_t* faults;

  RPU_DEVICE_FN void operator()(int64_t row) const {
    if (!is_finite(largest[row])) atomic_or(faults, 1u);
  }
};

/// factor * values, with zeros for samples of which x or d is not finite: they leave the weights as they are.
struct CopySound {
  ConstMatrix values;
  const float *x_max, *d_max;
  float factor;
  float* out;  // [rows][cols]
  uint32_t* faults;

  RPU_DEVICE_FN void operator()(int64_t row, const Quad& quad) const {
    const bool sound = is_finite(x_max[row]) && is_finite(d_max[row]);
    if (!sound && faults != nullptr) atomic_or(faults, 1u);
    for (int k = 0; k < 4; ++k)
      if (quad.column(k) < values.cols)
        out[row * values.cols + quad.column(k)] =
            sound ? values.data[row * values.stride + quad.column(k)] * factor : 0.0f;
  }
};

/// Sound copies of both sides of an exact update, d times a factor.
struct SoundBatch {
  float *x_max, *d_max, *x, *d;

  SoundBatch(Arena& arena, const ConstMatrix& x_given, const ConstMatrix& d_given)
      : x_max(arena.take<float>(x_given.rows)),
        d_max(arena.take<float>(d_given.rows)),
        x(arena.take<float>(x_given.rows * x_given.cols)),
        d(arena.take<float>(d_given.rows * d_given.cols)) {}

  void copy(const RpuCall& call, const ConstMatrix& x_given, const ConstMatrix& d_given, float d_factor) const {
    const Stream_t stream = stream_of(call);
    row_abs_max(stream, x_given, x_max);
    row_abs_max(stream, d_given, d_max);
    over_quads(stream, x_given.rows, x_given.cols, CopySound{x_given, x_max, d_max, 1.0f, x, call.faults});
    over_quads(stream, d_given.rows, d_given.cols, CopySound{d_given, x_max, d_max, d_factor, d, call.faults});
  }
};

/// Sums of (w - mean)^power in the order of the CPU: 16 partial sums of each row, then these, then the rows.
struct PartialMoments {
  ConstMatrix w;
  const double* mean;  // or null: 0
  int power;
  double* partial;  // [rows][16]

  RPU_FN void operator()(int64_t i) const {
    const int64_t row = i / kPartialSums;
    partial[i] = partial_moment(w.data + row * w.stride, w.cols, mean != nullptr ? *mean : 0.0, power,
                                static_cast<int>(i % kPartialSums));
  }
};

struct TotalMoment : SumFold {
  const double* partial;
  double divisor;
  double* out;

  TotalMoment(const double* partial_sums, double count, double* result) : partial(partial_sums), divisor(count), out(result) {}

  RPU_FN double read(int64_t row) const {
    double sum = 0.0;
    for (int part = 0; part < kPartialSums; ++part) sum += partial[row * kPartialSums + part];
    return sum;
  }
  RPU_FN void end(double total) const { *out = total / divisor; }
};

RPU_END
