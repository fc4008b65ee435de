// Pulse trains of one quad of lines and one sample; the loops around it are in cpu/ and cuda/.
#pragma once
#include "../kernels.hpp"
#include "../physics/pulse_train.hpp"

RPU_BEGIN

RPU_FN uint32_t low_bits(int n) { return n >= 32 ? ~0u : (1u << n) - 1u; }

/// The slots in which the lines of the first kPacks packs of a quad fire for one sample, given to deposit(words,
/// line_stride, line, first bit, number of bits, bits).
template <int kPacks, class Deposit>
RPU_FN void train_of_packs(const TrainArgs& args, Key key, int64_t sample, const Quad& quad, const Deposit& deposit) {
  const int length = args.length[sample];
  const int64_t lines = args.values.cols;
  const uint32_t global = args.first_sample + static_cast<uint32_t>(sample);
  const float* row = args.values.data + sample * args.values.stride;

  F rounding[4] = {};
  if (args.resolution > 0.0f && args.stochastic_rounding) {
    quad.uniforms(global, args.step, args.rounding_stream, 0, key, rounding);
    for (int k = 0; k < kPacks; ++k) rounding[k] = rounding[k] - 0.5f;
  }
  I threshold[4] = {};
  U negative[4] = {};
  for (int k = 0; k < kPacks; ++k) {
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
        for (int k = 0; k < kPacks; ++k) fired[k] |= fires(words[k], threshold[k]) << slot;
      }
    } else {
      SlicedSlots slots[4] = {SlicedSlots(threshold[0]), SlicedSlots(threshold[1]), SlicedSlots(threshold[2]),
                              SlicedSlots(threshold[3])};
      for (int bit = 23; bit >= 0; --bit) {
        const U open = slots[0].undecided | slots[1].undecided | slots[2].undecided | slots[3].undecided;
        if (!any(open != 0u)) break;
        quad.words(global, args.step, args.stream, static_cast<uint32_t>(done / 32 * 24 + 23 - bit), key, words);
        for (int k = 0; k < kPacks; ++k) slots[k].compare(words[k], bit);
      }
      for (int k = 0; k < kPacks; ++k) fired[k] = slots[k].fired & low_bits(n);
    }
    for (int k = 0; k < kPacks; ++k) {
      if (quad.column(k) >= lines) break;
      const int64_t at = args.offset[sample] + done;
      deposit(args.fired, args.line_stride, quad.column(k), at, n, fired[k]);
      deposit(args.negative, args.line_stride, quad.column(k), at, n, negative[k] & low_bits(n));
    }
  }
}

/// The same for all lines of a quad.
template <class Deposit>
RPU_FN void train_of_sample(const TrainArgs& args, Key key, int64_t sample, const Quad& quad, const Deposit& deposit) {
  quad.with_packs(args.values.cols, [&](auto packs) { train_of_packs<packs()>(args, key, sample, quad, deposit); });
}

/// What a line contributes to deterministic pulses; rows are samples.
struct LineValues {
  LineValueArgs args;
  Key key;

  explicit LineValues(const LineValueArgs& a) : args(a), key(make_key(a.seed)) {}

  RPU_FN void operator()(int64_t sample, const Quad& quad) const {
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
  }
};

RPU_END
