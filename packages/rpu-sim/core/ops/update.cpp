#include "update.hpp"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <vector>

#include "../cpu/dispatch.hpp"
#include "../cpu/thread_pool.hpp"
#include "../errors.hpp"
#include "accelerator.hpp"
#include "row_blocks.hpp"
#include "train_chunks.hpp"

namespace rpu {
namespace {

float rate_of(const PulsedUpdate& u, int64_t sample) {
  return u.rates == nullptr ? std::fabs(u.lr) : std::fabs(u.lr) * u.rates[sample];
}

float highest_rate(const PulsedUpdate& u) {
  if (u.highest_rate > 0.0f) return std::fabs(u.lr) * u.highest_rate;
  float highest = u.rates == nullptr ? std::fabs(u.lr) : 0.0f;
  for (int64_t b = 0; u.rates != nullptr && b < u.x.rows; ++b) highest = std::max(highest, rate_of(u, b));
  return highest;
}

/// The largest |x| and |d| of each sample.
struct Largest {
  std::vector<float> x, d;
};

/// Buffers of an update, kept per calling thread so that repeated calls do not touch fresh memory.
struct Workspace {
  std::vector<uint32_t> words;
  std::vector<float> values, x, d, x_scale, d_scale;
  std::vector<Largest> largest;  // of several updates
  std::vector<int32_t> length;
  std::vector<int64_t> offset;
};

Workspace& workspace() {
  thread_local Workspace buffers;
  return buffers;
}

/// The largest |value| of each sample, in `largest`; throws where a value is not finite.
void find_largest(const Batch& values, const char* name, std::vector<float>& largest) {
  largest.resize(static_cast<size_t>(values.rows));
  const auto kernel = kernels().update.row_abs_max;
  const int64_t per_task = std::max<int64_t>(1, 32768 / std::max<int64_t>(1, values.cols));
  const int64_t tasks = (values.rows + per_task - 1) / per_task;
  parallel_for(tasks, values.rows * values.cols / 8, [&](int64_t i) {
    thread_local std::vector<float> buffer;
    const Range part{i * per_task, std::min(values.rows, (i + 1) * per_task)};
    kernel(values.part(part, buffer), {0, part.end - part.begin}, largest.data() + part.begin);
  });
  for (float v : largest)
    if (!std::isfinite(v))
      throw Error(ErrorKind::NonFinite, std::string(name) + " contains NaN or infinity; the weights were left unchanged");
}

void find_largest(const PulsedUpdate& u, Largest& largest) {
  find_largest(u.x, "x", largest.x);
  find_largest(u.d, "d", largest.d);
}

/// Trains of one chunk of the batch, in the workspace of the thread.
struct Chunk {
  int64_t samples;
  std::vector<int32_t>& length;
  std::vector<int64_t>& offset;
  std::vector<float>&x_scale, &d_scale;
  int64_t slots = 0;

  Chunk(const PulsedUpdate& u, int64_t first, const Largest& largest, int64_t n)
      : samples(n), length(workspace().length), offset(workspace().offset), x_scale(workspace().x_scale),
        d_scale(workspace().d_scale) {
    const auto size = static_cast<size_t>(n);
    length.resize(size), offset.resize(size), x_scale.resize(size), d_scale.resize(size);
    for (size_t b = 0; b < size; ++b) {
      const int64_t sample = first + static_cast<int64_t>(b);
      const auto at = static_cast<size_t>(sample);
      const TrainPlan plan = plan_train(u.parameters, rate_of(u, sample), u.granularity, largest.x[at], largest.d[at]);
      length[b] = plan.length;
      offset[b] = slots;
      x_scale[b] = plan.x_scale;
      d_scale[b] = plan.d_scale;
      slots += plan.length;
    }
  }
};

TrainArgs train_args(const PulsedUpdate& u, const Chunk& chunk, ConstMatrix values, const std::vector<float>& scale) {
  TrainArgs args{};
  args.values = values;
  args.scale = scale.data();
  args.length = chunk.length.data();
  args.offset = chunk.offset.data();
  // An odd number of groups, or the words of a line, a power of two apart, would compete for a few sets of the cache.
  args.line_stride = padded(values.cols) | kLineGroup;
  args.resolution = u.parameters.res;
  args.stochastic_rounding = u.parameters.sto_round;
  args.seed = u.train_seed;
  args.step = u.train_step;
  return args;
}

/// Draws the trains of both sides and points `pulses` at them.
void draw_trains(const PulsedUpdate& u, const Chunk& chunk, ConstMatrix x, ConstMatrix d, uint32_t first_sample,
                 Coincidences& pulses) {
  TrainArgs side[2] = {train_args(u, chunk, x, chunk.x_scale), train_args(u, chunk, d, chunk.d_scale)};
  side[0].stream = Stream::X_TRAIN, side[0].rounding_stream = Stream::X_ROUND;
  side[1].stream = Stream::D_TRAIN, side[1].rounding_stream = Stream::D_ROUND;
  pulses.n_words = (chunk.slots + 31) / 32;
  pulses.x_stride = side[0].line_stride, pulses.d_stride = side[1].line_stride;

  auto& words = workspace().words;
  const int64_t x_size = pulses.n_words * pulses.x_stride, d_size = pulses.n_words * pulses.d_stride;
  words.assign(static_cast<size_t>(2 * (x_size + d_size)), 0);
  side[0].fired = words.data(), side[0].negative = side[0].fired + x_size;
  side[1].fired = side[0].negative + x_size, side[1].negative = side[1].fired + d_size;
  pulses.x_fired = side[0].fired, pulses.x_negative = side[0].negative;
  pulses.d_fired = side[1].fired, pulses.d_negative = side[1].negative;

  const int64_t x_groups = pulses.x_stride / kLineGroup, groups = x_groups + pulses.d_stride / kLineGroup;
  for (TrainArgs& s : side) s.first_sample = first_sample;
  const int64_t words_drawn = groups * kLineGroup * std::min(chunk.slots, 8 * chunk.samples);
  parallel_for(groups, words_drawn / 2, [&](int64_t g) {
    const bool is_d = g >= x_groups;
    const int64_t group = is_d ? g - x_groups : g;
    kernels().update.trains(side[is_d], {group, group + 1});
  });
}

/// What every line contributes to the deterministic counts of its cells.
void compute_line_values(const PulsedUpdate& u, const Chunk& chunk, ConstMatrix x, ConstMatrix d, uint32_t first_sample,
                         Coincidences& pulses) {
  pulses.x_stride = padded(x.cols), pulses.d_stride = padded(d.cols);
  pulses.length = chunk.length.data();
  pulses.n_samples = chunk.samples;
  const int32_t longest = *std::max_element(chunk.length.begin(), chunk.length.end());
  pulses.words_per_sample = (longest + 31) / 32;
  pulses.n_words = chunk.samples * pulses.words_per_sample;

  auto& values = workspace().values;
  values.assign(static_cast<size_t>(chunk.samples * (pulses.x_stride + pulses.d_stride)), 0.0f);
  float* x_out = values.data();
  float* d_out = x_out + chunk.samples * pulses.x_stride;
  pulses.x_value = x_out, pulses.d_value = d_out;
  const bool counted = pulses.kind == params::PulseType::MEAN_COUNT;
  const int32_t* length = counted ? chunk.length.data() : nullptr;
  const LineResolutions resolution = line_resolutions(u.parameters);
  const auto side = [&](ConstMatrix v, const std::vector<float>& scale, float* out, int64_t stride, float res, Stream s) {
    const LineValueArgs args{v, scale.data(), length, out, stride, res, u.parameters.sto_round, u.train_seed, u.train_step,
                             first_sample, s};
    kernels().update.line_values(args, {0, chunk.samples});
  };
  side(x, chunk.x_scale, x_out, pulses.x_stride, resolution.x, Stream::X_ROUND);
  side(d, chunk.d_scale, d_out, pulses.d_stride, resolution.d, Stream::D_ROUND);
}

bool fires_pulses(const params::UpdateParameters& p) {
  return p.pulse_type != params::PulseType::MEAN_FIELD && p.pulse_type != params::PulseType::NONE_WITH_DEVICE;
}

/// Whether any of the 64 columns of a group gets pulses.
bool group_fires(const Coincidences& pulses, int64_t group) {
  const bool trains = pulses.x_value == nullptr;
  for (int64_t word = 0; word < (trains ? pulses.n_words : pulses.n_samples); ++word) {
    const int64_t first = word * pulses.x_stride + group * kLineGroup;
    for (int64_t i = first; i < first + kLineGroup; ++i)
      if (trains ? pulses.x_fired[i] != 0 : pulses.x_value[i] != 0.0f) return true;
  }
  return false;
}

/// The groups of columns that may get pulses: all but those at both ends, as beside the one column of a transfer.
Range active_groups(const Coincidences& pulses, int64_t cols) {
  Range active{0, padded(cols) / kLineGroup};
  if (pulses.counts != nullptr) return active;
  while (active.begin < active.end && !group_fires(pulses, active.begin)) ++active.begin;
  while (active.begin < active.end && !group_fires(pulses, active.end - 1)) --active.end;
  return active;
}

PulseTotals update_cells(const PulsedUpdate& u, const Coincidences& pulses, uint32_t chunk) {
  const Range groups = active_groups(pulses, u.weights.cols);
  if (groups.begin == groups.end) return {0, 0};
  const UpdateArgs args{u.device_params, u.weights, u.cells, u.counts, pulses, u.lr < 0.0f, u.seed, u.step, chunk,
                        u.parameters.noise, groups};
  const auto kernel = kernels().update.update[static_cast<int>(u.device)];
  const ConstMatrix stored{u.weights.data, u.weights.rows, u.weights.cols, u.weights.stride};
  const WriteArgs writes{stored, u.visible, u.write_noise, &pulses, u.lr < 0.0f, u.seed, u.step, chunk};
  const RowBlocks blocks(u.weights.rows, u.weights.cols);
  std::atomic<int64_t> up{0}, down{0};
  const int64_t visited = u.weights.rows * std::min(u.weights.cols, (groups.end - groups.begin) * kLineGroup);
  parallel_for(blocks.count(), visited * (1 + pulses.n_words / 8), [&](int64_t i) {
    const PulseTotals fired = kernel(args, blocks[i]);
    if (u.visible.data != nullptr) kernels().write.pulsed(writes, blocks[i]);
    up.fetch_add(fired.up, std::memory_order_relaxed);
    down.fetch_add(fired.down, std::memory_order_relaxed);
  });
  return {up.load(), down.load()};
}

void flow_cells(const PulsedUpdate& u, const Coincidences& pulses) {
  const UpdateArgs args{u.device_params, u.weights, u.cells, u.counts, pulses, u.lr < 0.0f, u.seed, u.step, 0, u.parameters.noise,
                        {0, padded(u.weights.cols) / kLineGroup}};
  const auto kernel = kernels().update.mean_field[static_cast<int>(u.device)];
  const RowBlocks blocks(u.weights.rows, u.weights.cols);
  parallel_for(blocks.count(), blocks.cells() * pulses.n_samples, [&](int64_t i) { kernel(args, blocks[i]); });
}

void update_exactly(const PulsedUpdate& u, ConstMatrix x, ConstMatrix d, int64_t first) {
  const BoundedRankArgs args{u.weights, u.cells, x, d, u.lr, u.rates == nullptr ? nullptr : u.rates + first};
  const RowBlocks blocks(u.weights.rows, u.weights.cols);
  parallel_for(blocks.count(), blocks.cells() * x.rows / 8,
               [&](int64_t i) { kernels().update.bounded_rank_update(args, blocks[i]); });
}

/// The largest magnitude, limited to what an int32_t holds.
int32_t largest_count(const int32_t* counts, int64_t n) {
  int32_t least = 0, most = 0;
  for (int64_t i = 0; i < n; ++i) {
    least = std::min(least, counts[i]);
    most = std::max(most, counts[i]);
  }
  return std::max(most, least < -kMaxChunkSlots ? std::numeric_limits<int32_t>::max() : -least);
}

/// An update, or the firing of given pulses, as it runs elsewhere; `rows` holds windows of x.
UpdateCall call_elsewhere(const PulsedUpdate& u, const int32_t* given, int32_t most_given, int64_t* fired,
                          std::vector<float>& rows) {
  UpdateCall call{};
  call.device = u.device;
  call.device_params = u.device_params;
  call.weights = u.weights;
  call.cells = u.cells;
  call.counts = u.counts;
  call.visible = u.visible;
  call.write_noise = u.write_noise;
  call.parameters = u.parameters;
  if (given == nullptr) call.x = u.x.part({0, u.x.rows}, rows), call.d = u.d.part({0, u.d.rows}, workspace().d);
  call.given = given;
  call.most_given = most_given;
  call.drive = u.drive;
  call.lr = u.lr;
  call.rates = u.rates;
  call.highest_rate = highest_rate(u);
  call.granularity = u.granularity;
  call.seed = u.seed;
  call.step = u.step;
  call.train_seed = u.train_seed;
  call.train_step = u.train_step;
  call.first_sample = u.first_sample;
  call.fired = fired;
  return call;
}

PulseTotals update_on(const Accelerator& where, const PulsedUpdate& u, const int32_t* given, int32_t most_given) {
  int64_t fired[2] = {0, 0};
  const UpdateCall call = call_elsewhere(u, given, most_given, u.fired != nullptr ? u.fired : fired, workspace().x);
  run_on(where, Operation::update, &call);
  return {fired[0], fired[1]};
}

bool does_nothing(const PulsedUpdate& u) {
  return u.lr == 0.0f || u.x.rows == 0 || u.weights.rows == 0 || u.weights.cols == 0;
}

std::vector<PulseTotals> updates_on(const Accelerator& where, const std::vector<PulsedUpdate>& updates) {
  std::vector<PulseTotals> totals(updates.size(), PulseTotals{0, 0});
  std::vector<int64_t> fired(2 * updates.size(), 0);
  std::vector<std::vector<float>> rows(updates.size());
  std::vector<UpdateCall> calls;
  for (size_t i = 0; i < updates.size(); ++i) {
    const PulsedUpdate& u = updates[i];
    if (does_nothing(u)) continue;
    calls.push_back(call_elsewhere(u, nullptr, 0, u.fired != nullptr ? u.fired : &fired[2 * i], rows[i]));
  }
  run_many_on(where, Operation::update, calls);
  for (size_t i = 0; i < updates.size(); ++i) totals[i] = {fired[2 * i], fired[2 * i + 1]};
  return totals;
}

/// The update of an array of which everything has been checked.
PulseTotals fire(const PulsedUpdate& u, const Largest& largest) {
  PulseTotals totals{0, 0};
  const bool fires = fires_pulses(u.parameters);
  const int64_t per_chunk = samples_per_chunk(u.parameters, highest_rate(u), u.granularity, u.x.cols, u.d.cols);
  uint32_t index = 0;
  for (int64_t first = 0; first < u.x.rows; first += per_chunk, ++index) {
    const int64_t n = std::min(per_chunk, u.x.rows - first);
    const ConstMatrix x = u.x.part({first, first + n}, workspace().x), d = u.d.part({first, first + n}, workspace().d);
    if (u.parameters.pulse_type == params::PulseType::NONE_WITH_DEVICE) {
      update_exactly(u, x, d, first);
      continue;
    }
    const Chunk chunk(u, first, largest, n);
    if (chunk.slots == 0) continue;
    const uint32_t first_sample = u.first_sample + static_cast<uint32_t>(first);
    Coincidences pulses{};
    pulses.kind = u.parameters.pulse_type;
    pulses.drive = u.drive;
    if (is_stochastic(pulses.kind)) draw_trains(u, chunk, x, d, first_sample, pulses);
    else compute_line_values(u, chunk, x, d, first_sample, pulses);
    if (!fires) {
      flow_cells(u, pulses);
      continue;
    }
    const PulseTotals fired = update_cells(u, pulses, index);
    totals.up += fired.up, totals.down += fired.down;
  }
  return totals;
}

/// A guess in ns for arrays of few cells, where drawing trains takes most of the time.
int64_t work_of(const PulsedUpdate& u) { return u.x.rows * (u.x.cols + u.d.cols + 40); }

/// Arrays of so few cells that threads have little to share in a chunk of the batch: its trains, which one thread writes and
/// the other has read the last time, cost more than they save. The ones with most to do come first; none where one has
/// more to do than all others.
std::vector<size_t> small_arrays(const std::vector<PulsedUpdate>& updates) {
  std::vector<size_t> small;
  int64_t total = 0;
  for (size_t i = 0; i < updates.size(); ++i) {
    const PulsedUpdate& u = updates[i];
    if (does_nothing(u) || RowBlocks(u.weights.rows, u.weights.cols).count() > 2) continue;
    small.push_back(i);
    total += work_of(u);
  }
  std::sort(small.begin(), small.end(), [&](size_t a, size_t b) {
    const int64_t of_a = work_of(updates[a]), of_b = work_of(updates[b]);
    return of_a > of_b || (of_a == of_b && a < b);
  });
  if (!small.empty() && work_of(updates[small[0]]) > total * 3 / 4) small.clear();
  return small;
}

}  // namespace

void check_rate(const params::UpdateParameters& p, float rate, float granularity) {
  if (!std::isfinite(rate)) throw Error(ErrorKind::Config, "a learning rate is beyond the range of float32; lower it");
  if (fires_pulses(p) && longest_train(p, rate, granularity) > kMaxChunkSlots)
    throw Error(ErrorKind::Config, "the learning rate asks for pulse trains of more than " +
                                       std::to_string(kMaxChunkSlots) + " slots; lower it or set fixed_bl=True");
}

std::vector<PulseTotals> pulsed_updates(const std::vector<PulsedUpdate>& updates) {
  for (const PulsedUpdate& u : updates)
    if (!does_nothing(u)) check_rate(u.parameters, highest_rate(u), u.granularity);
  if (const Accelerator* where = accelerator()) return updates_on(*where, updates);
  const size_t n = updates.size();
  std::vector<Largest>& largest = workspace().largest;
  if (largest.size() < n) largest.resize(n);
  for (size_t i = 0; i < n; ++i)
    if (!does_nothing(updates[i])) find_largest(updates[i], largest[i]);

  std::vector<PulseTotals> totals(n, PulseTotals{0, 0});
  std::vector<bool> done(n, false);
  const std::vector<size_t> small = small_arrays(updates);
  int64_t ns = 0;
  for (size_t i : small) done[i] = true, ns += work_of(updates[i]);
  parallel_for(static_cast<int64_t>(small.size()), ns, [&](int64_t k) {
    const size_t i = small[static_cast<size_t>(k)];
    totals[i] = fire(updates[i], largest[i]);
  });
  for (size_t i = 0; i < n; ++i)
    if (!done[i] && !does_nothing(updates[i])) totals[i] = fire(updates[i], largest[i]);
  return totals;
}

PulseTotals pulsed_update(const PulsedUpdate& u) {
  if (does_nothing(u)) return {0, 0};
  check_rate(u.parameters, highest_rate(u), u.granularity);
  if (const Accelerator* where = accelerator()) return update_on(*where, u, nullptr, 0);
  std::vector<Largest>& largest = workspace().largest;
  if (largest.empty()) largest.resize(1);
  find_largest(u, largest[0]);
  return fire(u, largest[0]);
}

PulseTotals fire_counts(const PulsedUpdate& u, const int32_t* counts, int32_t most) {
  if (most < 0) most = largest_count(counts, u.weights.rows * u.weights.cols);
  if (most > kMaxChunkSlots)
    throw Error(ErrorKind::Config, "a device gets more than " + std::to_string(kMaxChunkSlots) +
                                       " pulses at once; lower the learning rate");
  if (most == 0) return {0, 0};
  if (const Accelerator* where = accelerator()) return update_on(*where, u, counts, most);
  Coincidences pulses{};
  pulses.n_words = (most + 31) / 32;
  pulses.counts = counts;
  pulses.counts_stride = u.weights.cols;
  return update_cells(u, pulses, 0);
}

}  // namespace rpu
