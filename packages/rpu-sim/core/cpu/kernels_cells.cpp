// Loops over cells: population, lifecycle and initial weights. Compiled once per instruction-set level.
#include "../kernels.hpp"
#include "../physics/lifecycle.hpp"
#include "../physics/population.hpp"
#include "devices.gen.hpp"

RPU_BEGIN

void write_field(const Field& f, int64_t row, int64_t col, int64_t n, F value) {
  if (f.stride != 0) store(f.data + row * f.stride + col, value, n);
  else if (row == 0 && col == 0) *f.data = get(value, 0);
}

template <class Device> void populate(const PopulateArgs& args, Range rows) {
  const auto& p = *static_cast<const typename Device::Params*>(args.params);
  const Device device(p);
  const Key key = make_key(args.seed);
  for (int64_t row = rows.begin; row < rows.end; ++row)
    for_each_quad(row, args.cols, [&](const Quad& quad) {
      DrawnQuad drawn;
      for (int k = 0; k < 4; ++k) {
        const int64_t col = quad.column(k), n = args.cols - col;
        if (n <= 0) break;
        const PopulationDraws draw{quad, key, k, &drawn};
        const M bias = as_i(lane_index()) == static_cast<int32_t>(args.cols - 1 - col);
        F values[kMaxFields];
        draw_base_fields(p, draw, bias, values);
        device.extra_fields(p, values, draw, values + kBaseFields);
        for (int f = 0; f < kBaseFields + Device::kExtraFields; ++f) write_field(args.cells.field[f], row, col, n, values[f]);
      }
    });
}

/// Calls body(quad, k, w, reader, n) for every pack of a row, and stores the weight that it returns.
template <class Body> RPU_FN void map_weights(const LifecycleArgs& args, Range rows, Body&& body) {
  for (int64_t row = rows.begin; row < rows.end; ++row) {
    float* weights = args.weights.data + row * args.weights.stride;
    for_each_quad(row, args.weights.cols, [&](const Quad& quad) {
      for (int k = 0; k < 4; ++k) {
        const int64_t col = quad.column(k), n = args.weights.cols - col;
        if (n <= 0) break;
        const PackReader read{args.cells, row, col, n};
        const F w = body(quad, k, load(weights + col, n), read);
        store(weights + col, clip(w, read.bound(kMinBound), read.bound(kMaxBound)), n);
      }
    });
  }
}

void decay(const LifecycleArgs& args, Range rows) {
  map_weights(args, rows, [&](const Quad&, int, F w, const PackReader& read) {
    return decayed(w, read(kResetBias), read(kDecayScale), args.amount);
  });
}

void diffuse(const LifecycleArgs& args, Range rows) {
  const Key key = make_key(args.seed);
  map_weights(args, rows, [&](const Quad& quad, int k, F w, const PackReader& read) {
    F xi[4];
    quad.normals(0, args.step, Stream::DIFFUSION, 0, key, xi);
    return diffused(w, read(kDiffusionRate), xi[k]);
  });
}

void reset(const LifecycleArgs& args, Range rows) {
  const Key key = make_key(args.seed);
  const int32_t cols = static_cast<int32_t>(args.weights.cols);
  map_weights(args, rows, [&](const Quad& quad, int k, F w, const PackReader& read) {
    F xi[4], u[4];
    quad.normals(0, args.step, Stream::RESET, 0, key, xi);
    quad.uniforms(0, args.step, Stream::RESET, 1, key, u);
    I distance = as_i(lane_index()) + static_cast<int32_t>(quad.column(k) - args.first_column);
    distance = select(distance < 0, distance + cols, distance);
    const M chosen = (distance < static_cast<int32_t>(args.n_columns)) & (u[k] < args.probability);
    return select(chosen, reset_value(read(kResetBias), args.amount, xi[k]), w);
  });
}

void clip_weights(const LifecycleArgs& args, Range rows) {
  map_weights(args, rows, [](const Quad&, int, F w, const PackReader&) { return w; });
}

void uniform_weights(const UniformArgs& args, Range rows) {
  const Key key = make_key(args.seed);
  for (int64_t row = rows.begin; row < rows.end; ++row)
    for_each_quad(row, args.out.cols, [&](const Quad& quad) {
      F u[4];
      quad.uniforms(0, args.step, args.stream, 0, key, u);
      for (int k = 0; k < 4; ++k)
        store(args.out.data + row * args.out.stride + quad.column(k), args.low + (args.high - args.low) * u[k],
              args.out.cols - quad.column(k));
    });
}

RPU_END

namespace rpu::RPU_LEVEL {

void register_cells(CellKernels& table) {
#define RPU_DEVICE(name, header) table.populate[static_cast<int>(DeviceKind::name)] = populate<name>;
#include "../devices.def"
#undef RPU_DEVICE
  table.decay = decay;
  table.diffuse = diffuse;
  table.reset = reset;
  table.clip = clip_weights;
  table.uniform = uniform_weights;
}

}  // namespace rpu::RPU_LEVEL
