// Samples of a product on the device: their scales, which of them are computed in a round of bound management, and
// their way through DAC and ADC.
#pragma once
#include <cfloat>

#include "../physics/adc.hpp"
#include "../physics/bound_management.hpp"
#include "../physics/dac.hpp"
#include "../physics/noise_management.hpp"
#include "statistics.hpp"

RPU_BEGIN

/// Positive and negative entries of each row in 16 partial sums, as on the CPU.
struct PartialSums {
  ConstMatrix values;
  SignedSums* partial;  // [rows][16]

  RPU_FN void operator()(int64_t i) const {
    const int64_t row = i / 16;
    float positive = 0.0f, negative = 0.0f;
    for (int64_t col = i % 16; col < values.cols; col += 16) {
      const float v = values.data[row * values.stride + col];
      positive = positive + max_(v, 0.0f);
      negative = negative + max_(-v, 0.0f);
    }
    partial[i] = {positive, negative};
  }
};

struct TotalSums {
  const SignedSums* partial;
  SignedSums* sums;

  RPU_FN void operator()(int64_t row) const {
    SignedSums total{0.0f, 0.0f};
    for (int part = 0; part < 16; ++part) {
      total.positive += partial[row * 16 + part].positive;
      total.negative += partial[row * 16 + part].negative;
    }
    sums[row] = total;
  }
};

/// Largest value of each row, at least 0; zeroed before.
struct RowMax {
  ConstMatrix values;
  uint32_t* largest;  // positive floats are ordered like their bits

  RPU_DEVICE_FN void operator()(int64_t row, const Quad& quad) const {
    float most = 0.0f;
    for (int k = 0; k < 4; ++k)
      if (quad.column(k) < values.cols) most = max_(most, values.data[row * values.stride + quad.column(k)]);
    atomic_max(largest + row, f_to_bits(most) & 0x7fffffffu);
  }
};

/// alpha of noise management for a sample, except for AVERAGE_ABS_MAX; MAX expects the largest value in alpha.
struct SampleScale {
  IoSpec io;
  const float* abs_max;
  const SignedSums* sums;
  float* alpha;

  RPU_FN void operator()(int64_t i) const {
    using Type = params::NoiseManagementType;
    const Type type = io.noise_management;
    if (type == Type::ABS_MAX) alpha[i] = limited(abs_max[i], io.nm_thres);
    else if (type == Type::MAX) alpha[i] = limited(alpha[i], io.nm_thres);
    else if (type == Type::ABS_MAX_NP_SUM) alpha[i] = worst_case_scale(io, abs_max[i], sums[i]);
    else alpha[i] = type == Type::CONSTANT && io.nm_thres > 0.0f ? io.nm_thres : 1.0f;
  }
};

/// AVERAGE_ABS_MAX: sample after sample, from the largest value to alpha.
struct RunningMeans {
  const float* abs_max;
  float *mean, *alpha;

  using State = float;
  RPU_FN void begin(float& at) const { at = *mean; }
  RPU_FN float read(int64_t i) const { return abs_max[i]; }
  RPU_FN void step(float& at, float& value) const {
    if (is_finite(value)) at = rpu::running_mean(at, value);
    value = at;
  }
  RPU_FN void store(int64_t i, float value) const { alpha[i] = value; }
  RPU_FN void end(float at) const { *mean = at; }
};

/// The same with a mean that stays as it is.
struct FrozenMean {
  const float *abs_max, *mean;
  float* alpha;

  RPU_FN void operator()(int64_t i) const { alpha[i] = *mean == 0.0f ? abs_max[i] : *mean; }
};

/// Lists the samples that are computed. Those without a scale are exactly zero; those that are not finite give NaN.
struct CollectSamples {
  const float *abs_max, *alpha;
  bool zero_rule;
  float* fill;  // what the output of a sample that is not listed is filled with; 1 for listed ones
  int32_t *list, *count;
  uint32_t* faults;

  RPU_DEVICE_FN void operator()(int64_t i) const {
    fill[i] = 1.0f;
    if (!is_finite(abs_max[i])) {
      if (faults != nullptr) atomic_or(faults, 1u);
      fill[i] = bits_to_f(0x7fc00000u);
    } else if (zero_rule && !scales(alpha[i])) {
      fill[i] = 0.0f;
    } else {
      list[atomic_next(count)] = static_cast<int32_t>(i);
    }
  }
};

struct FillOutputs {
  Matrix output;
  const float* fill;

  RPU_FN void operator()(int64_t row, const Quad& quad) const {
    if (fill[row] == 1.0f) return;
    for (int k = 0; k < 4; ++k)
      if (quad.column(k) < output.cols) output.data[row * output.stride + quad.column(k)] = fill[row];
  }
};

/// The samples of one round.
struct Listed {
  const int32_t *sample, *count;
};

/// Factors before the DAC and after the ADC.
struct ScaleSamples {
  IoSpec io;
  Listed listed;
  BoundRound round;
  const float *abs_max, *alpha;
  const SignedSums* sums;
  float *scale, *factor;
  uint32_t* exceeded;

  RPU_FN void operator()(int64_t i) const {
    if (i >= *listed.count) return;
    const int32_t s = listed.sample[i];
    float a = round.worst_case ? worst_case_scale(io, abs_max[s], sums[s]) : alpha[s];
    if (!scales(a)) a = 1.0f;
    scale[i] = (1.0f / a) * (1.0f / round.reduction);
    const float back = io.out_scale * (a * round.reduction);
    factor[i] = FLT_MAX < back ? FLT_MAX : back;
    exceeded[i] = 0;
  }
};

struct ConvertInputs {
  IoSpec io;
  Listed listed;
  ConstMatrix input;
  const float* scale;
  float* out;
  int64_t out_stride;
  MvmDraws draws;
  CodeBits bits;

  RPU_FN void operator()(int64_t row, const Quad& quad) const {
    if (row >= *listed.count) return;
    const Dac convert(io, bits);
    const int32_t sample = listed.sample[row];
    const float* in = input.data + sample * input.stride;
    const SampleDraws of_sample(draws, sample, convert.stream);
    F v[4];
    for (int k = 0; k < 4; ++k) v[k] = load(in + quad.column(k), input.cols - quad.column(k));
    convert(v, scale[row], quad, of_sample, input.cols);
    for (int k = 0; k < 4; ++k) store(out + row * out_stride + quad.column(k), v[k], input.cols - quad.column(k));
  }
};

/// The output path of a quad of outputs of a listed sample.
struct ConvertOutputs {
  IoSpec io;
  Listed listed;
  const float *out_noise, *factor;
  Matrix output;
  uint32_t* exceeded;
  MvmDraws draws;

  /// Noise, quantisation and clip, without the factor.
  RPU_DEVICE_FN void convert(int64_t row, const Quad& quad, float y[4]) const {
    const Adc adc(io, out_noise, output.cols);
    const SampleDraws of_sample(draws, listed.sample[row], adc.stream);
    M high = false;
    adc(y, quad, of_sample, high);
    if (high) atomic_or(exceeded + row, 1u);
  }
  RPU_FN void store_scaled(int64_t row, const Quad& quad, const float y[4]) const {
    float* out = output.data + listed.sample[row] * output.stride;
    for (int k = 0; k < 4; ++k) store(out + quad.column(k), y[k] * factor[row], output.cols - quad.column(k));
  }

  // After a product, see product.hpp.
  static constexpr bool kContinues = false;
  RPU_FN void start(int64_t, const Quad&, float*) const {}
  RPU_DEVICE_FN void operator()(int64_t row, const Quad& quad, float* y) const {
    convert(row, quad, y);
    store_scaled(row, quad, y);
  }
};

/// The samples of which any output exceeded its bound, for the next round.
struct KeepExceeded {
  Listed listed;
  const uint32_t* exceeded;
  int32_t *list, *count;

  RPU_DEVICE_FN void operator()(int64_t i) const {
    if (i < *listed.count && exceeded[i] != 0) list[atomic_next(count)] = listed.sample[i];
  }
};

RPU_END
