// Loops over a weight matrix: modified copies, clipping, remapping. Compiled once per instruction-set level.
#include "../bodies/weights.hpp"

RPU_BEGIN

/// Two quads at a time where normals are drawn, which then need not wait for each other.
template <class Modifier> RPU_FN void modify_row(const ModifyArgs& args, const Modifier& modifier, Key key, int64_t row) {
  Quad pair[2];
  int waiting = 0;
  for_each_quad(row, args.source.cols, [&](const Quad& quad) {
    if constexpr (Modifier::kDrawsNoise) {
      pair[waiting++] = quad;
      if (waiting < 2) return;
      F noise[2][4];
      normals_of_two(pair, args.sample, args.step, Stream::WEIGHT_MODIFIER, kModifierNoise, key, noise);
      for (int i = 0; i < 2; ++i) modify_quad(args, modifier, key, row, pair[i], noise[i]);
      waiting = 0;
    } else {
      modify_quad(args, modifier, key, row, quad);
    }
  });
  if (waiting > 0) modify_quad(args, modifier, key, row, pair[0]);
}

template <class Modifier> void modify_rows(const ModifyArgs& args, Range rows) {
  const Modifier modifier(args);
  const Key key = make_key(args.seed);
  const int64_t cols = args.source.cols;
  for (int64_t row = rows.begin; row < rows.end; ++row) {
    modify_row(args, modifier, key, row);
    if (args.parameters->copy_last_column && cols > 0)
      args.out.data[row * args.out.stride + cols - 1] = args.source.data[row * args.source.stride + cols - 1];
  }
}

void modify(const ModifyArgs& args, Range rows) {
  for_modifier(args.parameters->type, [&](auto tag) { modify_rows<typename decltype(tag)::Modifier>(args, rows); });
}

void clip_rows(const ConstMatrix& source, const Matrix& out, float bound, Range rows) {
  for (int64_t row = rows.begin; row < rows.end; ++row)
    for (int64_t col = 0; col < source.cols; col += kLanes) {
      const F w = load(source.data + row * source.stride + col, source.cols - col);
      store(out.data + row * out.stride + col, clip(w, broadcast(-bound), broadcast(bound)), source.cols - col);
    }
}

void rescale(const RescaleArgs& args, Range rows) {
  for (int64_t row = rows.begin; row < rows.end; ++row) {
    const float* source = args.source.data + row * args.source.stride;
    float* out = args.out.data + row * args.out.stride;
    const double numerator = args.numerator[row], denominator = args.denominator[row];
    for (int64_t col = 0; col < args.source.cols; ++col)
      out[col] = rescaled(source[col], numerator, denominator);
  }
}

void row_sums(const ConstMatrix& source, double mean, int power, Range rows, double* sums) {
  constexpr int kPartial = 16;
  for (int64_t row = rows.begin; row < rows.end; ++row) {
    const float* w = source.data + row * source.stride;
    double partial[kPartial] = {};
    for (int64_t col = 0; col < source.cols; col += kPartial) {
      const int64_t n = source.cols - col < kPartial ? source.cols - col : kPartial;
      for (int64_t i = 0; i < n; ++i) {
        const double distance = w[col + i] - mean;
        partial[i] += power == 2 ? distance * distance : distance;
      }
    }
    double total = 0.0;
    for (double sum : partial) total += sum;
    sums[row] = total;
  }
}

RPU_END

namespace rpu::RPU_LEVEL {

void register_weights(WeightKernels& table) {
  table.modify = modify;
  table.clip = clip_rows;
  table.rescale = rescale;
  table.row_sums = row_sums;
}

}  // namespace rpu::RPU_LEVEL
