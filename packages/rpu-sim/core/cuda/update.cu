// The pulsed update: pulse management, trains and pulses of a batch, chunk by chunk, all on the device.
#include "../bodies/flow.hpp"
#include "../bodies/trains.hpp"
#include "../bodies/write.hpp"
#include "../ops/train_chunks.hpp"
#include "device.hpp"
#include "reductions.hpp"
#include "sources.hpp"
#include "statistics.hpp"

RPU_BEGIN

/// Arrays of a chunk; the largest one of the batch decides.
struct UpdateWorkspace {
  float *x_max = nullptr, *d_max = nullptr, *x_scale = nullptr, *d_scale = nullptr;
  int32_t* length = nullptr;
  int64_t *offset = nullptr, *slots = nullptr;
  uint32_t* words = nullptr;  // fired and negative of x, then of d
  float* values = nullptr;
  int64_t n_words = 0, per_chunk = 0;

  UpdateWorkspace(Arena& arena, const UpdateCall& u) {
    if (u.given != nullptr) return;
    const int64_t longest = longest_train(u.parameters, u.highest_rate, u.granularity);
    const int64_t lines = padded(u.x.cols) + padded(u.d.cols);
    const int64_t batch = u.x.rows;
    per_chunk = std::min(batch, samples_per_chunk(u.parameters, u.highest_rate, u.granularity, u.x.cols, u.d.cols));
    x_max = arena.take<float>(batch);
    d_max = arena.take<float>(batch);
    x_scale = arena.take<float>(per_chunk);
    d_scale = arena.take<float>(per_chunk);
    length = arena.take<int32_t>(per_chunk);
    offset = arena.take<int64_t>(per_chunk);
    slots = arena.take<int64_t>(1);
    const bool drawn = is_stochastic(u.parameters.pulse_type);
    n_words = (longest * per_chunk + 31) / 32;
    words = arena.take<uint32_t>(drawn ? 2 * n_words * lines : 0);
    values = arena.take<float>(drawn ? 0 : per_chunk * lines);
  }
};

/// The train of one sample.
struct PlanTrain {
  params::UpdateParameters parameters;
  float lr, granularity;
  const float *rates, *x_max, *d_max;
  float *x_scale, *d_scale;
  int32_t* length;
  uint32_t* faults;

  RPU_DEVICE_FN void operator()(int64_t i) const {
    const float rate = rates == nullptr ? abs_(lr) : abs_(lr) * rates[i];
    TrainPlan plan{0, 0.0f, 0.0f};
    if (is_finite(x_max[i]) && is_finite(d_max[i])) plan = plan_train(parameters, rate, granularity, x_max[i], d_max[i]);
    else if (faults != nullptr) atomic_or(faults, 1u);
    length[i] = plan.length;
    x_scale[i] = plan.x_scale;
    d_scale[i] = plan.d_scale;
  }
};

/// Several samples share words.
struct SharedDeposit {
  RPU_DEVICE_FN void operator()(uint32_t* words, int64_t line_stride, int64_t line, int64_t offset, int n_bits,
                                U bits) const {
    if (bits == 0) return;
    uint32_t* word = words + (offset >> 5) * line_stride + line;
    const int shift = static_cast<int>(offset & 31);
    atomic_or(word, bits << shift);
    if (shift + n_bits > 32) atomic_or(word + line_stride, bits >> (32 - shift));
  }
};

struct DrawTrains {
  TrainArgs args;
  Key key;

  RPU_DEVICE_FN void operator()(int64_t sample, const Quad& quad) const {
    if (args.length[sample] > 0) train_of_sample(args, key, sample, quad, SharedDeposit{});
  }
};

/// Fresh write noise of the cells that were pulsed.
template <class Source> struct WritePulsed {
  WriteArgs args;
  Coincidences pulses;
  const int64_t* slots;

  RPU_FN void operator()(int64_t row, const Quad& quad) const {
    const Coincidences known = with_words(pulses, slots);
    Source source(known, args.flip);
    source.set_row(row);
    write_pulsed_quad(args, source, row, quad);
  }
};

struct BoundedRank {
  BoundedRankArgs args;

  RPU_FN void operator()(int64_t i) const {
    const int64_t row = i / args.weights.cols, col = i % args.weights.cols;
    float* w = args.weights.data + row * args.weights.stride + col;
    *w = bounded_rank_pack(args, row, col, 1, *w);
  }
};

/// One side of a chunk.
struct Side {
  ConstMatrix values;
  const float* scale;
  Stream stream, rounding;
  float resolution;
};

class UpdateRun {
 public:
  UpdateRun(const UpdateCall& u, const RpuCall& call)
      : u_(u), call_(call), stream_(stream_of(call)), w_(workspace<UpdateWorkspace>(call, u)) {}

  void run() {
    row_abs_max(stream_, u_.x, w_.x_max);
    row_abs_max(stream_, u_.d, w_.d_max);
    uint32_t index = 0;
    for (int64_t first = 0; first < u_.x.rows; first += w_.per_chunk, ++index) run_chunk(first, index);
  }

  void fire() {
    Coincidences pulses{};
    pulses.n_words = (u_.most_given + 31) / 32;
    pulses.counts = u_.given;
    pulses.counts_stride = u_.weights.cols;
    update_cells(pulses, nullptr, 0);
  }

 private:
  void run_chunk(int64_t first, uint32_t index) {
    const int64_t n = std::min(w_.per_chunk, u_.x.rows - first);
    over_items(stream_, n, PlanTrain{u_.parameters, u_.lr, u_.granularity, u_.rates == nullptr ? nullptr : u_.rates + first,
                                     w_.x_max + first, w_.d_max + first, w_.x_scale, w_.d_scale, w_.length, call_.faults});
    const LineResolutions resolution = line_resolutions(u_.parameters);
    const Side x{rows_of(u_.x, first, n), w_.x_scale, Stream::X_TRAIN, Stream::X_ROUND, resolution.x};
    const Side d{rows_of(u_.d, first, n), w_.d_scale, Stream::D_TRAIN, Stream::D_ROUND, resolution.d};
    const uint32_t first_sample = u_.first_sample + static_cast<uint32_t>(first);
    Coincidences pulses{};
    pulses.kind = u_.parameters.pulse_type;
    pulses.drive = u_.drive;
    pulses.x_stride = padded(x.values.cols), pulses.d_stride = padded(d.values.cols);
    if (is_stochastic(pulses.kind)) return run_trains(x, d, n, first_sample, pulses, index);

    pulses.length = w_.length;
    pulses.n_samples = n;
    pulses.words_per_sample = (longest_train(u_.parameters, u_.highest_rate, u_.granularity) + 31) / 32;
    pulses.n_words = n * pulses.words_per_sample;
    pulses.x_value = w_.values, pulses.d_value = w_.values + n * pulses.x_stride;
    line_values(x, w_.values, pulses.x_stride, first_sample);
    line_values(d, w_.values + n * pulses.x_stride, pulses.d_stride, first_sample);
    if (pulses.kind == params::PulseType::MEAN_FIELD) functions_of(u_.device).mean_field(update_args(pulses, 0), stream_);
    else update_cells(pulses, nullptr, index);
  }

  void run_trains(const Side& x, const Side& d, int64_t n, uint32_t first_sample, Coincidences pulses, uint32_t index) {
    over_blocks(stream_, 1, 1, PlaceAll{w_.length, n, w_.offset, w_.slots});  // in the order of the samples
    const int64_t x_size = w_.n_words * pulses.x_stride, d_size = w_.n_words * pulses.d_stride;
    zero(stream_, w_.words, 2 * (x_size + d_size) * 4);
    uint32_t* d_words = w_.words + 2 * x_size;
    draw_trains(x, w_.words, w_.words + x_size, pulses.x_stride, first_sample);
    draw_trains(d, d_words, d_words + d_size, pulses.d_stride, first_sample);
    pulses.x_fired = w_.words, pulses.x_negative = w_.words + x_size;
    pulses.d_fired = d_words, pulses.d_negative = d_words + d_size;
    update_cells(pulses, w_.slots, index);
  }

  void draw_trains(const Side& side, uint32_t* fired, uint32_t* negative, int64_t stride, uint32_t first_sample) {
    const TrainArgs args{side.values, side.scale, w_.length, w_.offset, fired, negative, stride, side.resolution,
                         u_.parameters.sto_round, u_.train_seed, u_.train_step, first_sample, side.stream, side.rounding};
    over_samples(stream_, side.values.rows, side.values.cols, DrawTrains{args, make_key(u_.train_seed)});
  }

  void line_values(const Side& side, float* out, int64_t stride, uint32_t first_sample) {
    const int32_t* length = u_.parameters.pulse_type == params::PulseType::MEAN_COUNT ? w_.length : nullptr;
    zero(stream_, out, side.values.rows * stride * 4);
    over_samples(stream_, side.values.rows, side.values.cols,
               LineValues(LineValueArgs{side.values, side.scale, length, out, stride, side.resolution,
                                        u_.parameters.sto_round, u_.train_seed, u_.train_step, first_sample, side.rounding}));
  }

  UpdateArgs update_args(const Coincidences& pulses, uint32_t index) const {
    return {u_.device_params, u_.weights, u_.cells, u_.counts, pulses, u_.lr < 0.0f, u_.seed, u_.step, index,
            u_.parameters.noise, {0, groups(u_.weights.cols)}};
  }

  void update_cells(const Coincidences& pulses, const int64_t* slots, uint32_t index) {
    functions_of(u_.device).update({update_args(pulses, index), slots, u_.fired}, stream_);
    if (u_.visible.data == nullptr) return;
    const ConstMatrix stored{u_.weights.data, u_.weights.rows, u_.weights.cols, u_.weights.stride};
    const WriteArgs args{stored, u_.visible, u_.write_noise, &pulses, u_.lr < 0.0f, u_.seed, u_.step, index};
    for_row_source(pulses, [&](auto tag) {
      over_quads(stream_, u_.weights.rows, u_.weights.cols,
                 WritePulsed<typename decltype(tag)::Source>{args, pulses, slots});
    });
  }

  static ConstMatrix rows_of(const ConstMatrix& m, int64_t first, int64_t n) {
    return {m.data + first * m.stride, n, m.cols, m.stride};
  }

  const UpdateCall& u_;
  const RpuCall& call_;
  Stream_t stream_;
  UpdateWorkspace w_;
};

RPU_END

namespace rpu::RPU_LEVEL {

void run_populate(const PopulateCall& call, const RpuCall& on) {
  functions_of(call.device).populate(call.args, stream_of(on));
}

void run_update(const UpdateCall& u, const RpuCall& call) {
  if (u.weights.rows == 0 || u.weights.cols == 0) return;
  if (u.given != nullptr) return UpdateRun(u, call).fire();
  if (u.lr == 0.0f || u.x.rows == 0) return;
  if (u.parameters.pulse_type == params::PulseType::NONE_WITH_DEVICE) {
    const auto batch = workspace<SoundBatch>(call, u.x, u.d);
    batch.copy(call, u.x, u.d, 1.0f);
    const ConstMatrix x{batch.x, u.x.rows, u.x.cols, u.x.cols}, d{batch.d, u.d.rows, u.d.cols, u.d.cols};
    over_items(stream_of(call), u.weights.rows * u.weights.cols, BoundedRank{{u.weights, u.cells, x, d, u.lr, u.rates}});
    return;
  }
  UpdateRun(u, call).run();
}

}  // namespace rpu::RPU_LEVEL
