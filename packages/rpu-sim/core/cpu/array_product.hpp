// The product with the physics of the array: one or more passes over a block of outputs, each with the products that
// its effects need, then the output path, once or for every pass. Part of kernels_mvm.cpp.
#pragma once
#include "../bodies/array_effects.hpp"
#include "../physics/adc.hpp"
#include "../physics/nonlinearity.hpp"
#include "../physics/pulse_width.hpp"
#include "gemm.hpp"
#include "sum16.hpp"

RPU_BEGIN

/// x, |x| and so on of one pass, and their sums over 16 partial sums, whatever the lane width.
void pass_inputs(const PassInputArgs& args, Range rows) {
  for (int64_t row = rows.begin; row < rows.end; ++row) {
    const int64_t start = row * args.stride;
    F sum[16 / kLanes] = {}, squares[16 / kLanes] = {}, magnitudes[16 / kLanes] = {};
    for (int64_t col = 0; col < args.inputs; col += 16)
      for (int part = 0; part < 16 / kLanes; ++part) {
        const int64_t at = col + part * kLanes, left = args.inputs - at;
        F x = load(args.in + start + at, left);
        if (args.polarity == Polarity::kNegative) x = select(x < 0.0f, x, F{});
        if (args.polarity == Polarity::kPositive) x = select(x > 0.0f, x, F{});
        if (args.grid.points > 0.0f) x = sampled_pulse(x, args.grid);
        if (args.signal != nullptr) store(args.signal + start + at, x, left);
        if (args.magnitude != nullptr) store(args.magnitude + start + at, abs_(x), left);
        if (args.placed != nullptr) store(args.placed + start + at, x * load(args.place + at, left), left);
        if (args.power != nullptr) store(args.power + start + at, x * x, left);
        sum[part] = sum[part] + x;
        squares[part] = squares[part] + x * x;
        magnitudes[part] = magnitudes[part] + abs_(x);
      }
    if (args.sum != nullptr) args.sum[row] = sum16(sum);
    if (args.square_sum != nullptr) args.square_sum[row] = sum16(squares);
    if (args.magnitude_sum != nullptr) args.magnitude_sum[row] = sum16(magnitudes);
  }
}

void scaled_weights(const ConstMatrix& weights, const float* factors, float* out, Range rows) {
  for (int64_t row = rows.begin; row < rows.end; ++row)
    for (int64_t col = 0; col < weights.cols; col += kLanes) {
      const int64_t at = row * weights.cols + col, left = weights.cols - col;
      store(out + at, load(weights.data + row * weights.stride + col, left) * load(factors + at, left), left);
    }
}

/// Blocks of outputs of some rows; each array is [rows][stride].
struct ArrayBlocks {
  PassProducts of_pass;
  float* total;
  int64_t stride;
};

/// Calls body(row, index of the quad's first output in the arrays, quad) for all outputs of the blocks.
template <class Body> RPU_FN void for_each_output(const ArrayProductArgs& args, Range rows, Range blocks,
                                                  int64_t stride, Body&& body) {
  for (int64_t row = rows.begin; row < rows.end; ++row)
    for (int64_t block = blocks.begin; block < blocks.end; ++block)
      for_each_quad_of_group(block, args.product.output.cols, [&](const Quad& quad) {
        body(row, (row - rows.begin) * stride + quad.col - blocks.begin * kBlock, quad);
      });
}

/// What the array does to the currents of one pass.
void apply_effects(const ArrayProductArgs& args, uint32_t number, Range rows, Range blocks, const ArrayBlocks& c) {
  const ArrayEffects apply(args, args.pass[number], c.of_pass);
  const Stream stream = args.product.io->backward ? Stream::BACKWARD_OUTPUT : Stream::FORWARD_OUTPUT;
  MvmDraws draws_of_pass = args.product.draws;
  draws_of_pass.pass = number;
  for_each_output(args, rows, blocks, c.stride, [&](int64_t row, int64_t at, const Quad& quad) {
    apply(SampleDraws(draws_of_pass, args.product.sample[row], stream), row, at, quad);
  });
}

/// The output path, in place.
RPU_FLAT void convert_outputs(const ArrayProductArgs& args, uint32_t number, Range rows, Range blocks, float* y,
                     int64_t stride) {
  const IoSpec& io = *args.product.io;
  const int64_t outputs = args.product.output.cols;
  const Adc convert(io, args.product.out_noise, outputs);
  MvmDraws draws_of_pass = args.product.draws;
  draws_of_pass.pass = number;
  for_each_output(args, rows, blocks, stride, [&](int64_t row, int64_t at, const Quad& quad) {
    const SampleDraws draws(draws_of_pass, args.product.sample[row], convert.stream);
    F v[4];
    for (int k = 0; k < 4; ++k) {
      const int64_t col = quad.column(k);
      v[k] = load(y + at + 16 * k, kLanes);
      if (io.array.saturates) {
        const F nl = args.nonlinearity != nullptr ? load(args.nonlinearity + col, outputs - col) : F{};
        v[k] = saturated(v[k], nl, args.gain);
      }
    }
    M exceeded{};
    convert(v, quad, draws, exceeded);
    for (int k = 0; k < 4; ++k) store(y + at + 16 * k, v[k], kLanes);
    if (args.product.exceeded != nullptr && any(exceeded))
      args.product.exceeded[quad.col / kBlock * args.product.rows + row] = 1;
  });
}

/// total = significance y for the first pass, then total += significance y.
void add_pass(const ArrayProductArgs& args, uint32_t number, Range rows, Range blocks, const ArrayBlocks& c) {
  const float factor = args.pass[number].significance;
  for_each_output(args, rows, blocks, c.stride, [&](int64_t, int64_t at, const Quad&) {
    for (int k = 0; k < 4; ++k) {
      const int64_t i = at + 16 * k;
      const F y = load(c.of_pass.y + i, kLanes) * factor;
      store(c.total + i, number == 0 ? y : load(c.total + i, kLanes) + y, kLanes);
    }
  });
}

/// The products of one pass: with the weights, and where an effect needs it with their magnitudes.
void read_array(const ArrayProductArgs& args, uint32_t number, Range rows, Range blocks, const ArrayBlocks& c,
                float* packed) {
  const Pass& pass = args.pass[number];
  const bool forward = !args.product.io->backward;
  const int64_t depth = forward ? pass.weights.cols : pass.weights.rows, outputs = args.product.output.cols;
  const int64_t first = blocks.begin * kBlock, last = blocks.end * kBlock < outputs ? blocks.end * kBlock : outputs;
  const auto multiply_with = [&](const float* weights, const float* a, bool magnitude, float* out) {
    const Operand operand{weights, pass.weights.stride, forward, magnitude};
    multiply_block(a + rows.begin * args.input_stride, args.input_stride, rows.end - rows.begin, operand, depth, first,
                   last, out, c.stride, packed);
  };
  const auto multiply = [&](const float* a, bool magnitude, float* out) {
    multiply_with(pass.weights.data, a, magnitude, out);
  };
  multiply(pass.signal, false, c.of_pass.y);
  if (pass.magnitude != nullptr) multiply(pass.magnitude, true, c.of_pass.load);
  if (pass.placed != nullptr) multiply(pass.placed, false, c.of_pass.placed);
  if (args.product.io->array.pcm_read_noise) multiply(pass.power, true, c.of_pass.power);
  if (args.noise_weights != nullptr)
    for (int k = 0; k < 3; ++k)
      multiply_with(args.noise_weights + k * pass.weights.rows * pass.weights.stride, pass.power, false, c.of_pass.noise[k]);
}

void array_product(const ArrayProductArgs& args, Range rows, Range blocks, float* scratch) {
  constexpr int64_t kPart = kSamplePanel * kOutputBlock;
  float* c = scratch + kPackedFloats;
  const ArrayBlocks arrays{{c, c + kPart, c + 2 * kPart, c + 3 * kPart, {c + 5 * kPart, c + 6 * kPart, c + 7 * kPart}},
                           c + 4 * kPart,
                           (blocks.end - blocks.begin) * kBlock};
  const ArraySpec& array = args.product.io->array;
  if (args.product.exceeded != nullptr)
    for (int64_t block = blocks.begin; block < blocks.end; ++block)
      for (int64_t row = rows.begin; row < rows.end; ++row) args.product.exceeded[block * args.product.rows + row] = 0;
  for (uint32_t number = 0; number < static_cast<uint32_t>(array.passes); ++number) {
    read_array(args, number, rows, blocks, arrays, scratch);
    apply_effects(args, number, rows, blocks, arrays);
    if (array.converts_each) convert_outputs(args, number, rows, blocks, arrays.of_pass.y, arrays.stride);
    add_pass(args, number, rows, blocks, arrays);
  }
  if (!array.converts_each) convert_outputs(args, 0, rows, blocks, arrays.total, arrays.stride);
  for_each_output(args, rows, blocks, arrays.stride, [&](int64_t row, int64_t at, const Quad& quad) {
    float* out = args.product.output.data + args.product.sample[row] * args.product.output.stride;
    for (int k = 0; k < 4; ++k)
      store(out + quad.column(k), load(arrays.total + at + 16 * k, kLanes) * args.product.factor[row],
            args.product.output.cols - quad.column(k));
  });
}

RPU_END
