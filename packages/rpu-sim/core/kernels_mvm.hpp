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

/// A part of the bits of a DAC code: (code >> shift) & mask; mask 0 is the whole code.
struct CodeBits {
  uint32_t shift, mask;
};

constexpr int kMaxPasses = 16;

/// Points in time at which the pulses of a pass are read (physics/pulse_width.hpp).
struct PulseGrid {
  float points;           // 0: inputs are amplitudes, there is no time
  float points_per_unit;  // of the input
  float per_point;        // input per point
  float edge;             // 1/2 with the trapezoid rule, 0 for a sum
};

/// Time-sliced IR drop (ops/time_slices.cpp).
struct TimeSlices {
  bool active;
  int32_t segments;
  int64_t physical_inputs;  // of the array in which the inputs of the tile are centred
  float wire;               // MOhm between two inputs
  float v_read;             // V
  float g_max, g_min;       // uS
  float charge_unit;        // uA times a step of the DAC, or 0: charge is not counted
  float read_noise;         // scale of the read noise that depends on the pulses, or 0
  PulseGrid grid[kMaxPasses];
};

/// What the array does beyond the plain product, and the passes of a product; zero where off (ops/io_spec.cpp).
struct ArraySpec {
  bool active;               // anything but one plain pass
  params::AnalogMVType mv_type;
  int32_t passes;            // reads of the array for one result
  bool converts_each;        // every pass goes through the ADC, and the results are added
  CodeBits bits[kMaxPasses]; // part of the input code that a pass sends
  float ir_drop;
  float ir_drop_g_ratio;
  float w_noise;
  bool pcm_read_noise;       // w_noise grows with the conductance
  bool offsets;              // voltage offset or series resistance
  float v_offset_std;
  float reference_weight;    // -v_offset_w_min
  float r_series;
  bool saturates;
  float nonlinearity;        // out_nonlinearity over the output bound
  float nonlinearity_std;
  float slope_calibration;   // point where the slope is restored, in units of the output
  float read_asymmetry;      // spread of the weights that negative inputs see; 0 with one pass
  TimeSlices slices;
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
  ArraySpec array;
};

/// Where the random numbers of one call come from.
struct MvmDraws {
  uint64_t seed;
  uint32_t step, first_sample;  // first_sample: global index of row 0 of the input
  uint32_t round;               // of bound management
  uint32_t pass;                // of a product of several
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
  CodeBits bits;          // part of the code that is sent
};

enum class Polarity : int32_t { kBoth, kNegative, kPositive };

/// What one pass of the array needs to know of its inputs; arrays are [rows, stride] or [rows], null where unused.
struct PassInputArgs {
  const float* in;  // behind the DAC
  int64_t stride, inputs;
  Polarity polarity;  // inputs of the other sign are 0 in this pass
  PulseGrid grid;
  const float* place;  // [inputs] 1 - (1 - j / n)^2, or null
  float *signal, *magnitude, *placed, *power;  // x, |x|, x place, x^2
  float *sum, *square_sum, *magnitude_sum;     // sum_j x, sum_j x^2, sum_j |x|
};

/// One read of the array.
struct Pass {
  ConstMatrix weights;
  const float *signal, *magnitude, *placed, *power, *sum, *square_sum, *magnitude_sum;  // of PassInputArgs
  float significance;  // factor on its converted result
  float idle;          // factor on the current of idle inputs
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

/// The same through all passes and effects of the array. `product.inputs` and `product.weights` are not used.
struct ArrayProductArgs {
  ProductArgs product;
  const Pass* pass;             // [io->array.passes]
  int64_t input_stride;
  float load_per_current;       // IR drop: n / g_ratio
  float gain;                   // of the nonlinearity
  const float* idle;            // [outputs] what idle inputs add, or null
  float counter_step;           // of the charge counter, or 0
  const float* noise_weights;   // three matrices M2, M1, M0 of physics/pulse_read_noise.hpp, or null
  float noise_scale;            // of that noise, over kappa
  float codes_per_sum;          // from sum |x| of a pass to its mean code
  const float *voltage_offset;  // [outputs] or null: 0
  const float *nonlinearity;    // [outputs] or null: 0
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

/// Constants that are drawn once per tile, see physics/output_constants.hpp; null where not needed.
struct MvmConstants {
  float *out_noise, *nonlinearity, *voltage_offset;  // [outputs]
  float* read_asymmetry;                             // [out, in], like the weights
};

struct ConstantsArgs {
  const IoSpec* io;
  MvmConstants out;
  int64_t outputs;
  int64_t rows, cols;  // of the weights
  uint64_t seed;
};

constexpr int64_t kOutputBlock = 64;   // outputs of one block
constexpr int64_t kSamplePanel = 256;  // most samples of one task, times its blocks
constexpr int64_t kChunk = 512;        // inputs of one chunk of a product (cpu/gemm.hpp)
constexpr int kChains = 16;            // chains of a chunk ...
constexpr int kWorthChains = 64;       // ... of a product of at least so many inputs; else one
constexpr int64_t kFewUpdates = 8;     // samples up to which a rank update is limited by the memory
constexpr int64_t kScratchFloats = kChunk * kOutputBlock + kSamplePanel * kOutputBlock;
constexpr int64_t kArrayScratchFloats = kScratchFloats + 7 * kSamplePanel * kOutputBlock;

struct MvmKernels {
  /// Largest value of each sample, at least 0.
  void (*row_max)(const ConstMatrix& values, Range samples, float* largest);
  void (*signed_sums)(const ConstMatrix& values, Range samples, SignedSums* sums);
  void (*dac)(const DacArgs&, Range rows);
  /// Some output blocks of some rows; `scratch` has kScratchFloats floats, aligned to 64 bytes.
  void (*product)(const ProductArgs&, Range rows, Range blocks, float* scratch);
  void (*pass_inputs)(const PassInputArgs&, Range rows);
  /// As above, with kArrayScratchFloats of scratch.
  void (*array_product)(const ArrayProductArgs&, Range rows, Range blocks, float* scratch);
  /// out = weights * factors, element by element.
  void (*scaled_weights)(const ConstMatrix& weights, const float* factors, float* out, Range rows);
  /// out[j][i] = factor * values[i][j]
  void (*scaled_transpose)(const ConstMatrix& values, float factor, float* out, int64_t out_stride);
  /// A part of the weights; `columns` starts at a block. Scratch as above.
  void (*rank_update)(const RankUpdateArgs&, Range rows, Range columns, float* scratch);
  void (*constants)(const ConstantsArgs&);
};

}  // namespace rpu
