// The pulsed update: trains of bit words, coincidence counts, and the pulses of every cell. Compiled once per level.
#include <type_traits>

#include "../kernels.hpp"
#include "devices.gen.hpp"
#include "../physics/pulse_train.hpp"
#include "coincidences.hpp"
#include "sign_queue.hpp"

RPU_BEGIN

// -- trains ---------------------------------------------------------------------------------------------------------

/// Adds `bits` (up to 32 slots) of a pack of lines at bit `offset` of their trains.
RPU_FN void deposit(uint32_t* words, int64_t line_stride, int64_t line, int64_t offset, int n_bits, U bits) {
  uint32_t* word = words + (offset >> 5) * line_stride + line;
  const int shift = static_cast<int>(offset & 31);
  store(word, load(word) | (bits << shift));
  if (shift + n_bits > 32) store(word + line_stride, load(word + line_stride) | (bits >> (32 - shift)));
}

RPU_FN uint32_t low_bits(int n) { return n >= 32 ? ~0u : (1u << n) - 1u; }

void train_of_sample(const TrainArgs& args, Key key, int64_t sample, const Quad& quad) {
  const int length = args.length[sample];
  const int64_t lines = args.values.cols;
  const uint32_t global = args.first_sample + static_cast<uint32_t>(sample);
  const float* row = args.values.data + sample * args.values.stride;

  F rounding[4] = {};
  if (args.resolution > 0.0f && args.stochastic_rounding) {
    quad.uniforms(global, args.step, args.rounding_stream, 0, key, rounding);
    for (F& u : rounding) u = u - 0.5f;
  }
  I threshold[4];
  U negative[4];
  for (int k = 0; k < 4; ++k) {
    const F v = load(row + quad.column(k), lines - quad.column(k));
    threshold[k] = firing_threshold(pulse_probability(v, args.scale[sample], args.resolution, rounding[k]));
    negative[k] = as_u(as_i(f_to_bits(v)) >> 31);
  }

  for (int done = 0; done < length; done += 32) {
    const int n = length - done < 32 ? length - done : 32;
    U fired[4] = {};
    U words[4];
    if (length <= kDirectSlots) {
      for (int slot = 0; slot < n; ++slot) {
        quad.words(global, args.step, args.stream, static_cast<uint32_t>(slot), key, words);
        for (int k = 0; k < 4; ++k) fired[k] |= fires(words[k], threshold[k]) << slot;
      }
    } else {
      SlicedSlots slots[4] = {SlicedSlots(threshold[0]), SlicedSlots(threshold[1]), SlicedSlots(threshold[2]),
                              SlicedSlots(threshold[3])};
      for (int bit = 23; bit >= 0; --bit) {
        const U open = slots[0].undecided | slots[1].undecided | slots[2].undecided | slots[3].undecided;
        if (!any(open != 0u)) break;
        quad.words(global, args.step, args.stream, static_cast<uint32_t>(done / 32 * 24 + 23 - bit), key, words);
        for (int k = 0; k < 4; ++k) slots[k].compare(words[k], bit);
      }
      for (int k = 0; k < 4; ++k) fired[k] = slots[k].fired & low_bits(n);
    }
    for (int k = 0; k < 4; ++k) {
      if (quad.column(k) >= lines) break;
      const int64_t at = args.offset[sample] + done;
      deposit(args.fired, args.line_stride, quad.column(k), at, n, fired[k]);
      deposit(args.negative, args.line_stride, quad.column(k), at, n, negative[k] & low_bits(n));
    }
  }
}

void trains(const TrainArgs& args, Range line_groups) {
  const Key key = make_key(args.seed);
  for (int64_t g = line_groups.begin; g < line_groups.end; ++g)
    for_each_quad_of_group(g, args.values.cols, [&](const Quad& quad) {
      for (int64_t sample = 0; sample < args.values.rows; ++sample)
        if (args.length[sample] > 0) train_of_sample(args, key, sample, quad);
    });
}

void line_values(const LineValueArgs& args, Range samples) {
  const Key key = make_key(args.seed);
  for (int64_t sample = samples.begin; sample < samples.end; ++sample)
    for_each_quad(0, args.values.cols, [&](const Quad& quad) {
      F rounding[4] = {};
      if (args.resolution > 0.0f && args.stochastic_rounding) {
        quad.uniforms(args.first_sample + static_cast<uint32_t>(sample), args.step, args.rounding_stream, 0, key, rounding);
        for (F& u : rounding) u = u - 0.5f;
      }
      for (int k = 0; k < 4; ++k) {
        const int64_t n = args.values.cols - quad.column(k);
        const F v = load(args.values.data + sample * args.values.stride + quad.column(k), n);
        F p = pulse_probability(v, args.scale[sample], args.resolution, rounding[k]);
        if (args.length != nullptr) p = rint_(p * static_cast<float>(args.length[sample]));
        store(args.out + sample * args.line_stride + quad.column(k), copysign_(p, v), n);
      }
    });
}

void row_abs_max(const ConstMatrix& values, Range samples, float* largest) {
  for (int64_t sample = samples.begin; sample < samples.end; ++sample) {
    const float* row = values.data + sample * values.stride;
    I most{};  // as integers, magnitudes are ordered like floats, with infinity and NaN on top
    for (int64_t col = 0; col < values.cols; col += kLanes) {
      const I magnitude = as_i(f_to_bits(abs_(load(row + col, values.cols - col))));
      most = select(magnitude > most, magnitude, most);
    }
    uint32_t bits = 0;
    for (int i = 0; i < kLanes; ++i) bits = get(as_u(most), i) > bits ? get(as_u(most), i) : bits;
    __builtin_memcpy(largest + sample, &bits, 4);
  }
}

// -- cells ----------------------------------------------------------------------------------------------------------

/// Pulses of one pack of cells one by one, in the order of the samples, each with its own cycle noise.
template <class Device>
RPU_FN F apply_pulses(const Device& device, F w, const typename Device::Cell& cell, const SignQueue& queue, U index,
                      const UpdateArgs& args, Key key) {
  const int most = queue.most();
  const I count = as_i(queue.count);
  for (int p = 0; p < most; p += 4) {
    F xi[4] = {};
    if (device.noisy()) {
      U words[4];
      philox(index, args.chunk, args.step, Stream::CYCLE_PULSE, broadcast(static_cast<uint32_t>(p / 4)), key, words);
      cycle_noise(device, words, xi);
    }
    const U signs = queue.words[p >> 5] >> (p & 31);
    for (int q = 0; q < 4; ++q)
      w = select(count > p + q, device.pulse(w, (signs & (1u << q)) != 0u, cell, xi[q]), w);
  }
  return w;
}

/// Six standard deviations: a path that stays this far from the bounds is treated as unbounded (error below 1e-8).
constexpr float kBoundMargin = 6.0f;

/// State-independent steps: n up and m down pulses of the whole batch are one Gaussian step, exactly, unless a bound is
/// near. `near_bound` tells which cells need their pulses one by one.
template <class Device>
RPU_FN F merged_counts(const Device& device, F w, const typename Device::Cell& c, U up, U down, F xi, M& near_bound) {
  const F n_up = to_f(as_i(up)), n_dn = to_f(as_i(down));
  const F rise = c.s_up * n_up, fall = c.s_dn * n_dn;
  const F spread = device.sigma * sqrt_(c.s_up * rise + c.s_dn * fall);
  const F margin = kBoundMargin * spread, zero{};
  const F highest = w + (max_(rise, zero) - min_(fall, zero));  // a step may be negative
  const F lowest = w + (min_(rise, zero) - max_(fall, zero));
  near_bound = ((highest + margin) > c.b_max) | ((lowest - margin) < c.b_min);
  return w + ((rise - fall) + spread * xi);
}

/// Affine steps with additive noise: the weight stays Gaussian, so mean and variance are propagated in the order of the
/// pulses and one normal is drawn at the end. CycleNoiseType::PER_UPDATE does so wherever there are moments.
template <class Device>
RPU_FN F merged_moments(const Device& device, F w, const typename Device::Cell& c, const SignQueue& queue, F xi,
                        M& near_bound) {
  F mean = w, variance{}, high = w, low = w, widest{};
  const int most = queue.most();
  const I count = as_i(queue.count);
  for (int p = 0; p < most; ++p) {
    F m = mean, v = variance;
    device.moments(m, v, (queue.words[p >> 5] & (1u << (p & 31))) != 0u, c);
    const M active = count > p;
    mean = select(active, m, mean);
    variance = select(active, v, variance);
    high = max_(high, mean);
    low = min_(low, mean);
    widest = max_(widest, variance);
  }
  const F margin = kBoundMargin * sqrt_(widest);
  near_bound = ((high + margin) > c.b_max) | ((low - margin) < c.b_min);
  return mean + sqrt_(variance) * xi;
}

/// Whether a device knows mean and variance of a pulse also where the law of the weight is not Gaussian.
template <class Device, class = void> struct HasMoments : std::false_type {};
template <class Device> struct HasMoments<Device, std::void_t<decltype(Device::kMoments)>> : std::true_type {};

/// The update of a range of rows, one row after the other.
template <class Device, class Source> struct RowUpdate {
  const UpdateArgs& args;
  const Device device;
  const Key key;
  Source source;
  U ups{}, pulses{};                 // per-lane totals since the last drain
  PulseTotals totals{0, 0};
  static constexpr int kNearMost = 512;
  int32_t near_columns[kNearMost + kLanes];  // cells of the row that are near a bound
  int n_near = 0;

  explicit RowUpdate(const UpdateArgs& a)
      : args(a),
        device(*static_cast<const typename Device::Params*>(a.params)),
        key(make_key(a.seed)),
        source(a.pulses, a.flip) {}

  PulseTotals run(Range rows) {
    for (int64_t row = rows.begin; row < rows.end; ++row) {
      float* weights = args.weights.data + row * args.weights.stride;
      source.set_row(row);
      for_each_quad(row, args.weights.cols, [&](const Quad& quad) {
        update_quad(row, weights, quad);
        if (n_near > kNearMost - kGroup) update_near(row, weights);
      });
      update_near(row, weights);
      drain_totals();
    }
    return totals;
  }

  RPU_FN bool merges() const {
    if constexpr (Device::kStateIndependent) return true;
    else return device.gaussian() || (HasMoments<Device>::value && args.noise == params::CycleNoiseType::PER_UPDATE);
  }

  RPU_FN void update_quad(int64_t row, float* weights, const Quad& quad) {
    F xi[4] = {};
    if (merges() && device.noisy()) quad.normals(args.chunk, args.step, Stream::CYCLE_MERGED, 0, key, xi);
    for (int k = 0; k < 4; ++k) {
      const int64_t col = quad.column(k), n = args.weights.cols - col;
      if (n <= 0) break;
      const F w = load(weights + col, n);
      M near_bound{};
      F moved = update_pack(row, col, n, w, xi[k], near_bound);
      near_bound &= first_lanes(n);
      if (any(near_bound)) {
        note_near(near_bound, col);
        moved = select(near_bound, w, moved);
      }
      store(weights + col, moved, n);
    }
  }

  RPU_FN F update_pack(int64_t row, int64_t col, int64_t n, F w, F xi, M& near_bound) {
    const auto cell = device.cell(PackReader{args.cells, row, col, n});
    if constexpr (Device::kStateIndependent) {
      U up, all;
      count_pulses(source, col, up, all);
      count(row, col, n, up, all);
      return merged_counts(device, w, cell, up, all - up, xi, near_bound);
    } else {
      SignQueue queue;
      queue.fill(source, col, first_lanes(n));
      count(row, col, n, queue.ups, queue.count);
      if (merges()) return merged_moments(device, w, cell, queue, xi, near_bound);
      const U index = lane_index() + static_cast<uint32_t>(row * args.weights.cols + col);
      return apply_pulses(device, w, cell, queue, index, args, key);
    }
  }

  RPU_FN void count(int64_t row, int64_t col, int64_t n, U up, U all) {
    ups += up, pulses += all;
    if (args.counts.up == nullptr) return;
    const int64_t first = row * args.weights.cols + col;
    for (int i = 0; i < (n < kLanes ? n : kLanes); ++i) {
      args.counts.up[first + i] += get(up, i);
      args.counts.down[first + i] += get(all, i) - get(up, i);
    }
  }

  void note_near(M near_bound, int64_t col) {
    const I flags = select(near_bound, I{} + 1, I{});
    for (int i = 0; i < kLanes; ++i) {
      near_columns[n_near] = static_cast<int32_t>(col + i);
      n_near += static_cast<int>(get(as_u(flags), i));
    }
  }

  /// The collected cells near a bound, packed densely: their pulses one by one.
  void update_near(int64_t row, float* weights) {
    for (int done = 0; done < n_near; done += kLanes) {
      const int n = n_near - done < kLanes ? n_near - done : kLanes;
      int32_t columns[kLanes];
      for (int i = 0; i < kLanes; ++i) columns[i] = near_columns[done + (i < n ? i : 0)];
      SignQueue queue;
      queue.fill(source, static_cast<const int32_t*>(columns), first_lanes(n));
      U index;
      __builtin_memcpy(&index, columns, sizeof index);
      index += static_cast<uint32_t>(row * args.weights.cols);
      const auto cell = device.cell(GatherReader{args.cells, row, columns});
      const F w = apply_pulses(device, load_values(weights, columns), cell, queue, index, args, key);
      for (int i = 0; i < n; ++i) weights[columns[i]] = get(w, i);
    }
    n_near = 0;
  }

  void drain_totals() {
    for (int i = 0; i < kLanes; ++i) {
      totals.up += get(ups, i);
      totals.down += static_cast<int64_t>(get(pulses, i)) - get(ups, i);
    }
    ups = U{}, pulses = U{};
  }
};

template <class Device> PulseTotals update(const UpdateArgs& args, Range rows) {
  return for_source(args.pulses, [&](auto tag) { return RowUpdate<Device, typename decltype(tag)::Source>(args).run(rows); });
}

RPU_END

namespace rpu::RPU_LEVEL {

void register_update(UpdateKernels& table) {
  table.row_abs_max = row_abs_max;
  table.trains = trains;
  table.line_values = line_values;
#define RPU_DEVICE(name, header) table.update[static_cast<int>(DeviceKind::name)] = update<name>;
#include "../devices.def"
#undef RPU_DEVICE
}

}  // namespace rpu::RPU_LEVEL
