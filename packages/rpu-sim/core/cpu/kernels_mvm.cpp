// The matrix-vector product: statistics of the inputs, DAC, product and output path. Compiled once per level.
#include "../kernels_mvm.hpp"
#include "../physics/adc.hpp"
#include "../physics/dac.hpp"
#include "../physics/output_constants.hpp"
#include "array_product.hpp"
#include "gemm.hpp"
#include "sum16.hpp"

RPU_BEGIN

// -- statistics -----------------------------------------------------------------------------------------------------

void row_max(const ConstMatrix& values, Range samples, float* largest) {
  for (int64_t sample = samples.begin; sample < samples.end; ++sample) {
    const float* row = values.data + sample * values.stride;
    F most{};
    for (int64_t col = 0; col < values.cols; col += kLanes) most = max_(most, load(row + col, values.cols - col));
    float result = 0.0f;
    for (int i = 0; i < kLanes; ++i) result = get(most, i) > result ? get(most, i) : result;
    largest[sample] = result;
  }
}

/// Column j goes to partial sum j mod 16, whatever the lane width.
void signed_sums(const ConstMatrix& values, Range samples, SignedSums* sums) {
  for (int64_t sample = samples.begin; sample < samples.end; ++sample) {
    const float* row = values.data + sample * values.stride;
    F positive[16 / kLanes] = {}, negative[16 / kLanes] = {};
    for (int64_t col = 0; col < values.cols; col += 16)
      for (int part = 0; part < 16 / kLanes; ++part) {
        const int64_t at = col + part * kLanes;
        const F v = load(row + at, values.cols - at);
        positive[part] = positive[part] + max_(v, F{});
        negative[part] = negative[part] + max_(-v, F{});
      }
    sums[sample] = {sum16(positive), sum16(negative)};
  }
}

// -- input ----------------------------------------------------------------------------------------------------------

RPU_FLAT void dac(const DacArgs& args, Range rows) {
  const Dac convert(*args.io, args.bits);
  const int64_t n = args.input.cols;
  for (int64_t row = rows.begin; row < rows.end; ++row) {
    const float* in = args.input.data + args.sample[row] * args.input.stride;
    float* out = args.out + row * args.out_stride;
    const SampleDraws draws(args.draws, args.sample[row], convert.stream);
    for_each_quad(0, n, [&](const Quad& quad) {
      quad.with_packs(n, [&](auto packs) {
        F v[4];
        for (int k = 0; k < packs(); ++k) v[k] = load(in + quad.column(k), n - quad.column(k));
        convert.template convert<packs()>(v, args.scale[row], quad, draws);
        for (int k = 0; k < packs(); ++k) store(out + quad.column(k), v[k], n - quad.column(k));
      });
    });
  }
}

// -- product and output ---------------------------------------------------------------------------------------------

/// The output path of one block for kRows rows from `row` on; c is the first of them.
template <int kRows>
RPU_FN void convert_rows(const ProductArgs& args, const Adc& convert, int64_t row, int64_t block, const float* c, int64_t c_stride) {
  const int64_t outputs = args.output.cols;
  SampleDraws draws[kRows];
  float* out[kRows];
  for (int i = 0; i < kRows; ++i) {
    draws[i] = SampleDraws(args.draws, args.sample[row + i], convert.stream);
    out[i] = args.output.data + args.sample[row + i] * args.output.stride;
  }
  M exceeded[kRows] = {};
  for_each_quad_of_group(block, outputs, [&](const Quad& quad) {
    quad.with_packs(outputs, [&](auto packs) {
      F y[kRows][4];
      for (int i = 0; i < kRows; ++i)
        for (int k = 0; k < packs(); ++k) y[i][k] = load(c + i * c_stride + quad.column(k) - block * kBlock, kLanes);
      convert.template convert<packs(), kRows>(y, quad, draws, exceeded);
      for (int i = 0; i < kRows; ++i)
        for (int k = 0; k < packs(); ++k)
          store(out[i] + quad.column(k), y[i][k] * args.factor[row + i], outputs - quad.column(k));
    });
  });
  if (args.exceeded != nullptr)
    for (int i = 0; i < kRows; ++i) args.exceeded[block * args.rows + row + i] = any(exceeded[i]);
}

/// The output path of one block: C[rows][c_stride] to the output. Two rows at a time: what one draws need not wait for the
/// other's.
RPU_FLAT void convert_block(const ProductArgs& args, Range rows, int64_t block, const float* c, int64_t c_stride) {
  const Adc convert(*args.io, args.out_noise, args.output.cols);
  int64_t row = rows.begin;
  for (; row + 2 <= rows.end; row += 2, c += 2 * c_stride) convert_rows<2>(args, convert, row, block, c, c_stride);
  if (row < rows.end) convert_rows<1>(args, convert, row, block, c, c_stride);
}

void product(const ProductArgs& args, Range rows, Range blocks, float* scratch) {
  const bool forward = !args.io->backward;
  const int64_t depth = forward ? args.weights.cols : args.weights.rows, outputs = args.output.cols;
  const int64_t first = blocks.begin * kBlock, last = blocks.end * kBlock < outputs ? blocks.end * kBlock : outputs;
  const int64_t c_stride = (blocks.end - blocks.begin) * kBlock;
  const Operand weights{args.weights.data, args.weights.stride, forward, false};
  float* c = scratch + kPackedFloats;
  multiply_block(args.inputs + rows.begin * args.input_stride, args.input_stride, rows.end - rows.begin, weights, depth,
                 first, last, c, c_stride, scratch);
  for (int64_t block = blocks.begin; block < blocks.end; ++block)
    convert_block(args, rows, block, c + (block - blocks.begin) * kBlock, c_stride);
}

// -- rank update ----------------------------------------------------------------------------------------------------

void scaled_transpose(const ConstMatrix& values, float factor, float* out, int64_t out_stride) {
  const Operand operand{values.data, values.stride, true, false};
  for (int64_t row = 0; row < values.rows; row += kLanes)
    pack_transposed(operand, 0, values.cols, row, values.rows, out_stride, out + row);
  for (int64_t col = 0; col < values.cols; ++col)
    for (int64_t row = 0; row < values.rows; row += kLanes) {
      float* at = out + col * out_stride + row;
      store(at, load(at, kLanes) * factor, kLanes);
    }
}

/// The columns [first, last) of at most kBlock columns.
void rank_update_block(const RankUpdateArgs& args, Range rows, int64_t first, int64_t last, float* scratch) {
  const Operand x{args.x.data, args.x.stride, false, false};
  const float* a = args.a + rows.begin * args.a_stride;
  float* weights = args.weights.data + rows.begin * args.weights.stride + first;
  const int64_t n_rows = rows.end - rows.begin, width = last - first;
  if (width % kLanes == 0) {
    accumulate_block(a, args.a_stride, n_rows, x, args.x.rows, first, last, weights, args.weights.stride, scratch);
    return;
  }
  float* c = scratch + kPackedFloats;  // a pack would reach beyond the row
  for (int64_t row = 0; row < n_rows; ++row)
    for (int64_t col = 0; col < width; col += kLanes)
      store(c + row * kBlock + col, load(weights + row * args.weights.stride + col, width - col), kLanes);
  accumulate_block(a, args.a_stride, n_rows, x, args.x.rows, first, last, c, kBlock, scratch);
  for (int64_t row = 0; row < n_rows; ++row)
    for (int64_t col = 0; col < width; col += kLanes)
      store(weights + row * args.weights.stride + col, load(c + row * kBlock + col, kLanes), width - col);
}

void rank_update(const RankUpdateArgs& args, Range rows, Range columns, float* scratch) {
  // A few samples leave the memory as the limit, so that weights are visited along rows; many repay packing x.
  const int64_t height = args.x.rows <= kFewUpdates ? kTileRows : rows.end - rows.begin;
  for (int64_t row = rows.begin; row < rows.end; row += height)
    for (int64_t first = columns.begin; first < columns.end; first += kBlock) {
      const Range part{row, row + height < rows.end ? row + height : rows.end};
      rank_update_block(args, part, first, first + kBlock < columns.end ? first + kBlock : columns.end, scratch);
    }
}

// -- constants ------------------------------------------------------------------------------------------------------

template <class Law> RPU_FN void per_output(const ConstantsArgs& args, uint32_t number, float* out, Law&& law) {
  const Key key = make_key(args.seed);
  for_each_quad(0, args.outputs, [&](const Quad& quad) {
    F xi[4];
    quad.normals(0, 0, constants_stream(*args.io), number, key, xi);
    for (int k = 0; k < 4; ++k) store(out + quad.column(k), law(xi[k]), args.outputs - quad.column(k));
  });
}

void per_weight(const ConstantsArgs& args, float* out) {
  const Key key = make_key(args.seed);
  for (int64_t row = 0; row < args.rows; ++row, out += args.cols)
    for_each_quad(row, args.cols, [&](const Quad& quad) {
      F xi[4];
      quad.normals(0, 0, constants_stream(*args.io), kDrawReadAsymmetry, key, xi);
      for (int k = 0; k < 4; ++k)
        store(out + quad.column(k), drawn_read_asymmetry(args.io->array, xi[k]), args.cols - quad.column(k));
    });
}

void constants(const ConstantsArgs& args) {
  const IoSpec& io = *args.io;
  if (args.out.out_noise != nullptr)
    per_output(args, kDrawOutNoise, args.out.out_noise, [&](F xi) { return drawn_out_noise(io, xi); });
  if (args.out.nonlinearity != nullptr)
    per_output(args, kDrawNonlinearity, args.out.nonlinearity, [&](F xi) { return drawn_nonlinearity(io.array, xi); });
  if (args.out.voltage_offset != nullptr)
    per_output(args, kDrawVoltageOffset, args.out.voltage_offset,
               [&](F xi) { return drawn_voltage_offset(io.array, xi); });
  if (args.out.read_asymmetry != nullptr) per_weight(args, args.out.read_asymmetry);
}

RPU_END

namespace rpu::RPU_LEVEL {

void register_mvm(MvmKernels& table) {
  table.row_max = row_max;
  table.signed_sums = signed_sums;
  table.dac = dac;
  table.product = product;
  table.pass_inputs = pass_inputs;
  table.array_product = array_product;
  table.scaled_weights = scaled_weights;
  table.scaled_transpose = scaled_transpose;
  table.rank_update = rank_update;
  table.constants = constants;
}

}  // namespace rpu::RPU_LEVEL
