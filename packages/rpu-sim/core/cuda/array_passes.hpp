// A product through the array on the device: pass after pass, each with the products that its effects need.
#pragma once
#include "../bodies/array_effects.hpp"
#include "../physics/nonlinearity.hpp"
#include "../physics/pulse_width.hpp"
#include "array_setup.hpp"
#include "mvm_samples.hpp"

RPU_BEGIN

/// Every 16th input of a row: what the pass reads of it, and partial sums of it.
struct PassInputs {
  PassInputArgs args;  // the sums are not used
  const int32_t* count;
  float* partial;  // [3][rows][16]
  int64_t rows;

  RPU_FN void operator()(int64_t i) const {
    const int64_t row = i / 16, start = row * args.stride;
    if (row >= *count) return;
    float sum = 0.0f, squares = 0.0f, magnitudes = 0.0f;
    for (int64_t col = i % 16; col < args.inputs; col += 16) {
      float x = args.in[start + col];
      if (args.polarity == Polarity::kNegative) x = select(x < 0.0f, x, 0.0f);
      if (args.polarity == Polarity::kPositive) x = select(x > 0.0f, x, 0.0f);
      if (args.grid.points > 0.0f) x = sampled_pulse(x, args.grid);
      if (args.signal != nullptr) args.signal[start + col] = x;
      if (args.magnitude != nullptr) args.magnitude[start + col] = abs_(x);
      if (args.placed != nullptr) args.placed[start + col] = x * args.place[col];
      if (args.power != nullptr) args.power[start + col] = x * x;
      sum = sum + x;
      squares = squares + x * x;
      magnitudes = magnitudes + abs_(x);
    }
    partial[i] = sum;
    partial[rows * 16 + i] = squares;
    partial[2 * rows * 16 + i] = magnitudes;
  }
};

struct PassSums {
  const float* partial;
  const int32_t* count;
  int64_t rows;
  float* sums;  // [3][rows]

  RPU_FN void operator()(int64_t i) const {
    if (i % rows >= *count) return;
    float sum = 0.0f;
    for (int part = 0; part < 16; ++part) sum += partial[i * 16 + part];
    sums[i] = sum;
  }
};

/// Effects of a pass, its conversion if each pass has one, and its share of the result.
struct EndPass {
  ConvertOutputs end;      // with the draws of the pass
  ArrayProductArgs args;   // io, output and draws of the product are set here
  const ArrayNumbers* numbers;
  Pass pass;
  PassProducts products;
  float* total;
  int64_t stride;
  bool first, last;

  RPU_DEVICE_FN void operator()(int64_t row, const Quad& quad) const {
    if (row >= *end.listed.count) return;
    ArrayProductArgs known = args;
    known.product.io = &end.io;
    known.product.output = end.output;
    known.counter_step = numbers->counter_step;
    known.noise_scale = numbers->noise_scale;
    const ArraySpec& array = end.io.array;
    const int64_t at = row * stride + quad.col;
    const Stream outputs = end.io.backward ? Stream::BACKWARD_OUTPUT : Stream::FORWARD_OUTPUT;
    const ArrayEffects apply(known, pass, products);
    apply(SampleDraws(end.draws, end.listed.sample[row], outputs), row, at, quad);
    float y[4];
    for (int k = 0; k < 4; ++k) y[k] = products.y[at + 16 * k];
    if (array.converts_each) convert(row, quad, y, end);
    for (int k = 0; k < 4; ++k) {
      y[k] = y[k] * pass.significance;
      if (!first) y[k] = total[at + 16 * k] + y[k];
      total[at + 16 * k] = y[k];
    }
    if (!last) return;
    if (!array.converts_each) {
      ConvertOutputs once = end;
      once.draws.pass = 0;
      convert(row, quad, y, once);
    }
    end.store_scaled(row, quad, y);
  }

 private:
  RPU_DEVICE_FN void convert(int64_t row, const Quad& quad, float y[4], const ConvertOutputs& adc) const {
    if (end.io.array.saturates)
      for (int k = 0; k < 4; ++k) {
        const int64_t col = quad.column(k);
        const F nl = args.nonlinearity != nullptr ? load(args.nonlinearity + col, end.output.cols - col) : 0.0f;
        y[k] = saturated(y[k], nl, numbers->gain);
      }
    adc.convert(row, quad, y);
  }
};

/// Arrays of the samples that are computed together.
struct ArrayBuffers {
  float *signal = nullptr, *magnitude = nullptr, *placed = nullptr, *power = nullptr;  // [rows][input stride]
  float *partial = nullptr, *sums = nullptr, *total = nullptr;
  PassProducts products{};

  ArrayBuffers(Arena& arena, const IoSpec& io, int64_t rows, int64_t inputs, int64_t outputs) {
    const ArraySpec& array = io.array;
    if (!array.active) return;
    const auto input = [&](bool needed) { return needed ? arena.take<float>(rows * inputs) : nullptr; };
    const auto output = [&](bool needed) { return needed ? arena.take<float>(rows * outputs) : nullptr; };
    const bool powers = array.pcm_read_noise || array.slices.read_noise > 0.0f;
    signal = input(array.slices.active || separates(array));
    magnitude = input(array.ir_drop > 0.0f);
    placed = input(array.ir_drop > 0.0f);
    power = input(powers);
    partial = arena.take<float>(3 * 16 * rows);
    sums = arena.take<float>(3 * rows);
    total = output(true);
    products.y = output(true);
    products.load = output(array.ir_drop > 0.0f);
    products.placed = output(array.ir_drop > 0.0f);
    products.power = output(array.pcm_read_noise);
    for (float*& noise : products.noise) noise = output(array.slices.read_noise > 0.0f);
  }

  static bool separates(const ArraySpec& array) {
    return array.mv_type == params::AnalogMVType::POS_NEG_SEPARATE ||
           array.mv_type == params::AnalogMVType::POS_NEG_SEPARATE_DIGITAL_SUM;
  }
};

/// All passes of `rows` listed samples.
class ArrayPasses {
 public:
  ArrayPasses(const MvmCall& call, const ArraySetup& setup, const ArrayBuffers& buffers, Stream_t stream)
      : call_(call), array_(call.io->array), setup_(setup), b_(buffers), stream_(stream) {}

  void run(ConvertInputs dac, const ConvertOutputs& end, int64_t rows, int64_t out_stride) const {
    for (int p = 0; p < array_.passes; ++p) {
      const bool sends_bits = array_.bits[0].mask != 0;
      if (sends_bits || p == 0) {
        dac.draws.pass = static_cast<uint32_t>(p);
        dac.bits = array_.bits[p];
        over_samples(stream_, rows, call_.input.cols, dac);
      }
      const bool separates = ArrayBuffers::separates(array_), negative = separates && p == 0, positive = separates && p == 1;
      PassInputArgs in{};
      in.in = dac.out;
      in.stride = dac.out_stride;
      in.inputs = call_.input.cols;
      in.polarity = negative ? Polarity::kNegative : positive ? Polarity::kPositive : Polarity::kBoth;
      in.grid = array_.slices.grid[p];
      in.place = setup_.place;
      in.signal = b_.signal, in.magnitude = b_.magnitude, in.placed = b_.placed, in.power = b_.power;
      over_items(stream_, rows * 16, PassInputs{in, dac.listed.count, b_.partial, rows});
      over_items(stream_, rows * 3, PassSums{b_.partial, dac.listed.count, rows, b_.sums});
      ConstMatrix weights = call_.weights;
      if (array_.slices.active) weights = {setup_.damped, weights.rows, weights.cols, weights.cols};
      else if (negative && setup_.negative != nullptr) weights = {setup_.negative, weights.rows, weights.cols, weights.cols};
      read(weights, in, dac.listed, rows, out_stride);
      finish(dac, end, in, p, rows, out_stride);
    }
  }

 private:
  void read(const ConstMatrix& weights, const PassInputArgs& in, const Listed& listed, int64_t rows, int64_t stride) const {
    const auto multiply_with = [&](const float* w, int64_t w_stride, const float* a, bool magnitude, float* out) {
      if (a == nullptr || out == nullptr) return;
      multiply(stream_, {a, in.stride, false, false}, {w, w_stride, !call_.io->backward, magnitude}, rows, listed.count,
               call_.output.cols, in.inputs, StoreProduct{out, stride});
    };
    const PassProducts& c = b_.products;
    multiply_with(weights.data, weights.stride, in.signal != nullptr ? in.signal : in.in, false, c.y);
    multiply_with(weights.data, weights.stride, in.magnitude, true, c.load);
    multiply_with(weights.data, weights.stride, in.placed, false, c.placed);
    multiply_with(weights.data, weights.stride, in.power, true, c.power);
    const int64_t cells = weights.rows * weights.cols;
    for (int k = 0; k < 3 && setup_.noise != nullptr; ++k)
      multiply_with(setup_.noise + k * cells, weights.cols, in.power, false, c.noise[k]);
  }

  void finish(const ConvertInputs& dac, const ConvertOutputs& end, const PassInputArgs& in, int p, int64_t rows,
              int64_t stride) const {
    Pass pass{};
    pass.sum = b_.sums, pass.square_sum = b_.sums + rows, pass.magnitude_sum = b_.sums + 2 * rows;
    pass.significance = static_cast<float>(1u << array_.bits[p].shift);
    pass.idle = in.grid.points * in.grid.per_point;
    ArrayProductArgs args{};
    if (array_.ir_drop > 0.0f) args.load_per_current = static_cast<float>(in.inputs) / array_.ir_drop_g_ratio;
    args.idle = setup_.idle;
    args.noise_weights = setup_.noise;
    args.codes_per_sum = dac.io.dac.per_unit / static_cast<float>(in.inputs);
    args.voltage_offset = call_.constants.voltage_offset;
    args.nonlinearity = call_.constants.nonlinearity;
    EndPass body{end, args, setup_.numbers, pass, b_.products, b_.total, stride, p == 0, p == array_.passes - 1};
    body.end.draws.pass = static_cast<uint32_t>(p);
    over_samples(stream_, rows, call_.output.cols, body);
  }

  const MvmCall& call_;
  const ArraySpec& array_;
  const ArraySetup& setup_;
  const ArrayBuffers& b_;
  Stream_t stream_;
};

RPU_END
