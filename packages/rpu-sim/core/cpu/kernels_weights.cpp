// Loops over a weight matrix: modified copies, clipping, remapping. Compiled once per instruction-set level.
#include "../kernels.hpp"
#include "../physics/weight_modifier.hpp"

RPU_BEGIN

template <class Modifier> void modify_rows(const ModifyArgs& args, Range rows) {
  const Modifier modifier(args);
  const Key key = make_key(args.seed);
  const float pdrop = args.parameters->pdrop;
  const int64_t cols = args.source.cols;
  for (int64_t row = rows.begin; row < rows.end; ++row) {
    const float* source = args.source.data + row * args.source.stride;
    float* out = args.out.data + row * args.out.stride;
    for_each_quad(row, cols, [&](const Quad& quad) {
      const ModifierDraws draw{quad, key, args.step, args.sample};
      F w[4];
      for (int k = 0; k < 4; ++k) w[k] = load(source + quad.column(k), cols - quad.column(k));
      modifier(draw, w);
      if (pdrop > 0.0f) {
        F u[4];
        draw.uniforms(kModifierDrop, u);
        for (int k = 0; k < 4; ++k) w[k] = select(u[k] < pdrop, broadcast(0.0f), w[k]);
      }
      for (int k = 0; k < 4; ++k) store(out + quad.column(k), w[k], cols - quad.column(k));
    });
    if (args.parameters->copy_last_column && cols > 0) out[cols - 1] = source[cols - 1];
  }
}

void modify(const ModifyArgs& args, Range rows) {
  using Type = params::WeightModifierType;
  switch (args.parameters->type) {
    case Type::NONE:
    case Type::COPY:
    case Type::DROP_CONNECT: return modify_rows<Copy>(args, rows);
    case Type::DISCRETIZE: return modify_rows<Discretize>(args, rows);
    case Type::MULT_NORMAL: return modify_rows<MultNormal>(args, rows);
    case Type::ADD_NORMAL: return modify_rows<AddNormal>(args, rows);
    case Type::DISCRETIZE_ADD_NORMAL: return modify_rows<DiscretizeAddNormal>(args, rows);
    case Type::DOREFA: return modify_rows<DoReFa>(args, rows);
    case Type::POLY: return modify_rows<Poly>(args, rows);
    case Type::PCM_NOISE: return modify_rows<PcmNoise>(args, rows);
    case Type::PROG_NOISE: return modify_rows<ProgNoise>(args, rows);
  }
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
      out[col] = static_cast<float>(source[col] * numerator / denominator);
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
