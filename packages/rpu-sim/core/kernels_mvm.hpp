// Argument structs of the kernels of the matrix-vector product; the table is part of kernels.hpp.
#pragma once
#include "params.gen.hpp"
#include "views.hpp"

namespace rpu {

/// One quantiser and the clip behind it.
struct Converter {
  float step;      // width of a level; 0: no quantisation
  float per_unit;  // levels per unit, 1 / step
  float bound;     // symmetric clip; infinite where there is none
  bool stochastic_rounding;
};

/// IOParameters of one direction, normalised once (ops/io_spec.cpp). A perfect product has neutral values.
struct IoSpec {
  bool backward;
  params::NoiseManagementType noise_management;
  params::BoundManagementType bound_management;
  Converter dac, adc;
  float inp_noise;
  float inp_negative;        // factor on negative inputs
  float out_noise;
  float out_noise_std;       // relative spread over the outputs
  float out_negative;        // factor on negative outputs
  float out_scale;
  float nm_thres;
  float max_dac_reduction;   // largest factor by which inputs may shrink before the DAC loses them; or infinite
  float max_reduction;       // bound management stops above it
  bool test_negative_bound;  // whether a clip at the negative bound counts
};

/// Where the random numbers of one call come from.
struct MvmDraws {
  uint64_t seed;
  uint32_t step, first_sample;  // first_sample: global index of row 0 of the input
  uint32_t round;               // of bound management
};

/// Inputs of the listed samples behind the DAC, one row after the other.
struct DacArgs {
  const IoSpec* io;
  ConstMatrix input;
  const int32_t* sample;  // row of the input that becomes row i
  const float* scale;     // [rows] factor on the input
  float* out;
  int64_t out_stride;
  MvmDraws draws;
};

/// Product and output path of the listed samples.
struct ProductArgs {
  const IoSpec* io;
  ConstMatrix weights;     // read transposed in the forward direction
  const float* inputs;     // [rows, input_stride] behind the DAC
  int64_t input_stride;
  const int32_t* sample;   // row of the output that row i belongs to
  const float* factor;     // [rows] factor on the result
  Matrix output;
  const float* out_noise;  // [outputs] standard deviations, or null: all equal
  uint8_t* exceeded;       // [block][rows] set to 1 where a bound was exceeded, or null
  int64_t rows;
  MvmDraws draws;
};

/// weights[i][j] <- fma(a[i][b], x[b][j], weights[i][j]) for b = 0, 1, ...
struct RankUpdateArgs {
  Matrix weights;
  const float* a;  // [rows][a_stride]
  int64_t a_stride;
  ConstMatrix x;
};

/// Sums of the positive and of the negative entries of each sample, both as magnitudes.
struct SignedSums {
  float positive, negative;
};

/// Constants of the outputs, drawn once per tile: see physics/output_constants.hpp.
struct ConstantsArgs {
  const IoSpec* io;
  float* out;
  int64_t outputs;
  uint64_t seed;
};

constexpr int64_t kOutputBlock = 64;   // outputs of one block
constexpr int64_t kSamplePanel = 256;  // most samples of one task, times its blocks
constexpr int64_t kScratchFloats = 256 * kOutputBlock + kSamplePanel * kOutputBlock;

struct MvmKernels {
  /// Largest value of each sample, at least 0.
  void (*row_max)(const ConstMatrix& values, Range samples, float* largest);
  void (*signed_sums)(const ConstMatrix& values, Range samples, SignedSums* sums);
  void (*dac)(const DacArgs&, Range rows);
  /// Some output blocks of some rows; `scratch` has kScratchFloats floats, aligned to 64 bytes.
  void (*product)(const ProductArgs&, Range rows, Range blocks, float* scratch);
  /// out[j][i] = factor * values[i][j]
  void (*scaled_transpose)(const ConstMatrix& values, float factor, float* out, int64_t out_stride);
  /// A part of the weights; `columns` starts at a block. Scratch as above.
  void (*rank_update)(const RankUpdateArgs&, Range rows, Range columns, float* scratch);
  void (*out_noise)(const ConstantsArgs&);
};

}  // namespace rpu
