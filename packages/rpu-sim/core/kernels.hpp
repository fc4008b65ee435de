// The kernel registry: one table of functions per instruction-set level (and, in the CUDA plugin, per device).
//
// Each op has an argument struct (plain data, shared by all levels) and a function that works on a range of rows or
// lines. Ops (core/ops) are host logic, written once; kernels (core/cpu) are the loops around the physics headers.
#pragma once
#include "fields.hpp"
#include "kernels_layer.hpp"
#include "kernels_mvm.hpp"
#include "kernels_weights.hpp"
#include "params.gen.hpp"

namespace rpu {

enum class DeviceKind : int32_t {
#define RPU_DEVICE(name, header) name,
#include "devices.def"
#undef RPU_DEVICE
  kCount
};
/// Most slots of all samples of one chunk of a batch: bounds the workspace and the queue of a cell.
constexpr int64_t kMaxChunkSlots = 8192;

constexpr int kDeviceKinds = static_cast<int>(DeviceKind::kCount);

/// Draw the device-to-device variation of a tile.
struct PopulateArgs {
  const void* params;  // dataclass struct of the device
  int64_t rows, cols;
  CellFields cells;    // shared fields are filled from cell (0, 0)
  uint64_t seed;
};

/// Pulse trains of all lines (columns for x, rows for d) of a batch, as bit words.
/// Word w of line l is words[w * line_stride + l]; sample b occupies length[b] bits from bit offset[b] on.
struct TrainArgs {
  ConstMatrix values;     // [batch, lines]
  const float* scale;     // [batch] probability per |value|
  const int32_t* length;  // [batch] slots of a sample, 0 for none
  const int64_t* offset;  // [batch] first bit of a sample
  uint32_t* fired;        // [n_words, line_stride], zeroed
  uint32_t* negative;     // [n_words, line_stride], zeroed: sign of the value in every slot of the sample
  int64_t line_stride;    // a multiple of 64, and at least the lines
  float resolution;       // of a probability; 0 is off
  bool stochastic_rounding;
  uint64_t seed;
  uint32_t step, first_sample;
  Stream stream, rounding_stream;
};

/// What a line contributes to the number of pulses of its cells, with the sign of its value: the probability of a pulse,
/// or for MEAN_COUNT the mean number of slots in which it fires, rounded.
struct LineValueArgs {
  ConstMatrix values;
  const float* scale;     // [batch]
  const int32_t* length;  // [batch] slots of a sample for MEAN_COUNT; null gives probabilities
  float* out;             // [batch, line_stride]
  int64_t line_stride;
  float resolution;
  bool stochastic_rounding;
  uint64_t seed;
  uint32_t step, first_sample;
  Stream rounding_stream;
};

enum class Drive : int32_t { kBoth, kUp, kDownAsUp };

/// Pulse counts of a batch, in one of three forms.
struct Coincidences {
  params::PulseType kind;
  // STOCHASTIC_COMPRESSED: bit words of TrainArgs
  const uint32_t *x_fired, *x_negative, *d_fired, *d_negative;
  int64_t n_words;
  // DETERMINISTIC_IMPLICIT, MEAN_COUNT and MEAN_FIELD: values of LineValueArgs; each sample has words_per_sample words of
  // its own
  const float *x_value, *d_value;
  const int32_t* length;
  int64_t n_samples;
  int64_t words_per_sample;
  // both
  int64_t x_stride, d_stride;
  // given numbers: pulses of each cell, positive up, [rows, cols of the weights]; null for the kinds above
  const int32_t* counts;
  int64_t counts_stride;
  // devices that are only ever pulsed up: of all pulses fire those that go up (kUp), or those down, as up (kDownAsUp)
  Drive drive;
};

struct UpdateArgs {
  const void* params;
  Matrix weights;
  CellFields cells;
  CellCounts counts;
  Coincidences pulses;
  bool flip;          // a negative learning rate turns every pulse around
  uint64_t seed;
  uint32_t step, chunk;
  params::CycleNoiseType noise;
  Range groups;       // of 64 columns; pulses reach none outside
};

struct PulseTotals {
  int64_t up, down;
};

/// The exact change -lr d x^T, clipped to the bounds after every sample.
struct BoundedRankArgs {
  Matrix weights;
  CellFields cells;
  ConstMatrix x, d;
  float lr;
  const float* rates;  // factors on lr of the samples, or null
};

/// decay, diffuse, reset and clip work on the weights and the base fields of any device.
struct LifecycleArgs {
  Matrix weights;
  CellFields cells;
  float amount;                      // decay: alpha; reset: spread
  float probability;                 // reset
  int64_t first_column, n_columns;   // reset: window, wraps around
  uint64_t seed;
  uint32_t step;
};

/// What the array shows of stored weights: all of them, or those that pulses have touched.
struct WriteArgs {
  ConstMatrix stored;
  Matrix visible;
  float sigma;
  const Coincidences* pulses;  // null: every cell is written
  bool flip;                   // of UpdateArgs
  uint64_t seed;
  uint32_t step, chunk;
};

struct DriftArgs {
  Matrix weights;
  CellFields cells;
  const params::DriftParameter* params;
  Field nu;                   // exponent of each cell
  float *age, *start, *seen;  // [rows, cols] memory of the cells, see physics/drift.hpp
  const float* before;        // follow: weights before the change
  float duration;             // drift: in units of t_0
  uint64_t seed;
  uint32_t step;
};

struct UniformArgs {
  Matrix out;
  float low, high;
  uint64_t seed;
  uint32_t step;
  Stream stream;
};

/// Whole steps of `threshold` out of n rows of an accumulator from row `first` on, which wraps around.
struct WholeStepArgs {
  Matrix chi;
  float threshold, most;
  int64_t first, n;
  int32_t* counts;  // [rows, cols], out: steps with the sign of the change of the weight, that of -chi; 0 in other rows
};

struct CellKernels {
  void (*populate[kDeviceKinds])(const PopulateArgs&, Range rows);
  void (*decay)(const LifecycleArgs&, Range rows);
  void (*diffuse)(const LifecycleArgs&, Range rows);
  void (*reset)(const LifecycleArgs&, Range rows);
  void (*clip)(const LifecycleArgs&, Range rows);
  void (*uniform)(const UniformArgs&, Range rows);
  /// Returns the largest number of steps.
  int32_t (*whole_steps)(const WholeStepArgs&, Range rows);
};

struct UpdateKernels {
  /// Largest |value| of each sample into largest[sample]; infinite or NaN if the sample contains such a value.
  void (*row_abs_max)(const ConstMatrix& values, Range samples, float* largest);
  void (*trains)(const TrainArgs&, Range line_groups);
  void (*line_values)(const LineValueArgs&, Range samples);
  PulseTotals (*update[kDeviceKinds])(const UpdateArgs&, Range rows);
  void (*mean_field[kDeviceKinds])(const UpdateArgs&, Range rows);
  void (*bounded_rank_update)(const BoundedRankArgs&, Range rows);
};

struct WriteKernels {
  void (*pulsed)(const WriteArgs&, Range rows);
  void (*all)(const WriteArgs&, Range rows);
};

struct DriftKernels {
  void (*drift)(const DriftArgs&, Range rows);
  void (*follow)(const DriftArgs&, Range rows);
  void (*draw_exponents)(const DriftArgs&, Range rows);
};

struct Kernels {
  const char* level;
  int lanes;
  CellKernels cell;
  UpdateKernels update;
  MvmKernels mvm;
  LayerKernels layer;
  WeightKernels weights;
  WriteKernels write;
  DriftKernels drift;
};

}  // namespace rpu
