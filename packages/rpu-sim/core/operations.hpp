// What a plugin computes: the operations behind c_api.h with their arguments, plain data whose arrays lie on the
// device. A plugin is built from the sources of exactly one release, and the sizes of the arguments are compared when
// it is loaded.
#pragma once
#include "bodies/transfer.hpp"
#include "bodies/windows.hpp"
#include "kernels.hpp"

namespace rpu {

struct PopulateCall {
  DeviceKind device;
  PopulateArgs args;
};

/// A pulsed update of all samples, or the firing of given numbers of pulses; see ops/update.hpp.
struct UpdateCall {
  DeviceKind device;
  const void* device_params;  // on the host; lists of numbers in it lie on the device
  Matrix weights;
  CellFields cells;
  CellCounts counts;
  Matrix visible;  // no data: there is no write noise
  float write_noise;
  params::UpdateParameters parameters;
  ConstMatrix x, d;
  const int32_t* given;  // [rows][cols] pulses to fire, or null; without x and d then
  int32_t most_given;    // largest magnitude among them, or an upper limit
  Drive drive;
  float lr;
  const float* rates;  // [batch] or null
  float highest_rate;  // of all samples, with lr
  float granularity;
  uint64_t seed;
  uint32_t step;
  uint64_t train_seed;
  uint32_t train_step, first_sample;
  int64_t* fired;  // [2] numbers of up and down pulses, added to; on the device
};

/// See ops/mvm.hpp.
struct MvmCall {
  const IoSpec* io;  // on the host
  ConstMatrix weights, input;
  Matrix output;
  MvmConstants constants;
  float* running_mean;
  bool freeze_mean;
  uint64_t seed;
  uint32_t step, first_sample;
};

struct RankUpdateCall {
  Matrix weights;
  ConstMatrix x, d;
  float lr;
};

/// Modified copies; see ops/weights.hpp. The numbers of `args.noise` and `args.parameters` lie on the host.
struct ModifyCall {
  ModifyArgs args;
  int64_t copies;
};

struct ClipWeightsCall {
  params::WeightClipParameter parameters;
  ConstMatrix source;
  Matrix out;
};

/// `within` becomes 1 if a clip would change nothing, else 0.
struct IsClippedCall {
  params::WeightClipParameter parameters;
  ConstMatrix source;
  uint32_t* within;
};

struct RemapWeightsCall {
  params::WeightRemapParameter parameters;
  ConstMatrix source;
  Matrix out;
  float* scales;  // [rows]
};

/// See ops/transfer.hpp; `any` becomes 1 if there are steps, else 0.
struct TakeStepsCall {
  BufferRule rule;
  BufferedSlice slice;
  uint32_t* any;
};

struct TakeWholeStepsCall {
  Matrix chi;
  float threshold, most;
  int64_t first, n;
  int32_t* counts;
  uint32_t* largest;  // magnitude
};

/// out = v, or out + v, where v is factor * source * row_factor of its row * col_factor of its column, rounded each time and
/// then within +- limit.
struct CombineCall {
  Matrix out;
  ConstMatrix source;
  float factor;
  bool adds;
  const float *row_factor, *col_factor;  // or null: 1
  float limit;                           // 0: none
};

/// Windows of `data` to rows.
struct CopyWindowsCall {
  const float* data;
  WindowAxes axes;
  float* rows;
};

/// Rows to windows of `data`, added to what is there in the order of the rows.
struct AddWindowsCall {
  const float* rows;
  WindowAxes axes;  // that `find_overlaps` knows how to add
  float* data;
};

/// Largest magnitude of each row.
struct LargestCall {
  ConstMatrix values;
  float* largest;
};

enum class Operation : uint32_t;

/// The same operation for arrays that have nothing to do with each other, such as those of a grid of tiles: with as few
/// launches as one of them where they have the same configuration and number of samples.
struct ManyCall {
  Operation operation;
  const void* const* args;  // on the host
  int64_t n;
};

/// X(name, type of the arguments), in the order of a plugin's table.
#define RPU_OPERATIONS(X)        \
  X(populate, PopulateCall)      \
  X(decay, LifecycleArgs)        \
  X(diffuse, LifecycleArgs)      \
  X(reset, LifecycleArgs)        \
  X(clip, LifecycleArgs)         \
  X(uniform, UniformArgs)        \
  X(write, WriteArgs)            \
  X(drift, DriftArgs)            \
  X(follow_drift, DriftArgs)     \
  X(draw_exponents, DriftArgs)   \
  X(update, UpdateCall)          \
  X(mvm, MvmCall)                \
  X(rank_update, RankUpdateCall) \
  X(constants, ConstantsArgs)    \
  X(modify, ModifyCall)          \
  X(clip_weights, ClipWeightsCall) \
  X(is_clipped, IsClippedCall)   \
  X(remap_weights, RemapWeightsCall) \
  X(take_steps, TakeStepsCall)   \
  X(take_whole_steps, TakeWholeStepsCall) \
  X(combine, CombineCall)        \
  X(copy_windows, CopyWindowsCall) \
  X(add_windows, AddWindowsCall) \
  X(largest, LargestCall)        \
  X(many, ManyCall)

enum class Operation : uint32_t {
#define RPU_OPERATION(name, Args) name,
  RPU_OPERATIONS(RPU_OPERATION)
#undef RPU_OPERATION
  kCount
};

}  // namespace rpu
