// Population, lifecycle and initial weights of one quad of cells; the loops around it are in cpu/ and cuda/.
#pragma once
#include "../kernels.hpp"
#include "../physics/lifecycle.hpp"
#include "../physics/population.hpp"

RPU_BEGIN

RPU_FN void write_field(const Field& f, int64_t row, int64_t col, int64_t n, F value) {
  if (f.stride != 0) store(f.data + row * f.stride + col, value, n);
  else if (row == 0 && col == 0) *f.data = get(value, 0);
}

template <class Device> struct Populate {
  typename Device::Params params;
  Device device;
  CellFields cells;
  int64_t cols;
  Key key;

  explicit Populate(const PopulateArgs& args)
      : params(*static_cast<const typename Device::Params*>(args.params)),
        device(params),
        cells(args.cells),
        cols(args.cols),
        key(make_key(args.seed)) {}

  RPU_FN void operator()(int64_t row, const Quad& quad) const {
    DrawnQuad drawn;
    for (int k = 0; k < 4; ++k) {
      const int64_t col = quad.column(k), n = cols - col;
      if (n <= 0) break;
      const PopulationDraws draw{quad, key, k, &drawn};
      const M bias = as_i(lane_index()) == static_cast<int32_t>(cols - 1 - col);
      F values[kMaxFields];
      draw_base_fields(params, draw, bias, values);
      device.extra_fields(params, values, draw, values + kBaseFields);
      for (int f = 0; f < kBaseFields + Device::kExtraFields; ++f) write_field(cells.field[f], row, col, n, values[f]);
    }
  }
};

/// Calls law(k, w, reader) for every pack of a quad, and stores the weight that it returns within the bounds.
template <class Law> RPU_FN void map_weights(const LifecycleArgs& args, int64_t row, const Quad& quad, Law&& law) {
  float* weights = args.weights.data + row * args.weights.stride;
  for (int k = 0; k < 4; ++k) {
    const int64_t col = quad.column(k), n = args.weights.cols - col;
    if (n <= 0) break;
    const PackReader read{args.cells, row, col, n};
    const F w = law(k, load(weights + col, n), read);
    store(weights + col, clip(w, read.bound(kMinBound), read.bound(kMaxBound)), n);
  }
}

struct Decay {
  LifecycleArgs args;

  explicit Decay(const LifecycleArgs& a) : args(a) {}

  RPU_FN void operator()(int64_t row, const Quad& quad) const {
    map_weights(args, row, quad, [&](int, F w, const PackReader& read) {
      return decayed(w, read(kResetBias), read(kDecayScale), args.amount);
    });
  }
};

struct Diffuse {
  LifecycleArgs args;
  Key key;

  explicit Diffuse(const LifecycleArgs& a) : args(a), key(make_key(a.seed)) {}

  RPU_FN void operator()(int64_t row, const Quad& quad) const {
    F xi[4];
    quad.normals(0, args.step, Stream::DIFFUSION, 0, key, xi);
    map_weights(args, row, quad, [&](int k, F w, const PackReader& read) { return diffused(w, read(kDiffusionRate), xi[k]); });
  }
};

struct Reset {
  LifecycleArgs args;
  Key key;

  explicit Reset(const LifecycleArgs& a) : args(a), key(make_key(a.seed)) {}

  RPU_FN void operator()(int64_t row, const Quad& quad) const {
    const int32_t cols = static_cast<int32_t>(args.weights.cols);
    F xi[4], u[4];
    quad.normals(0, args.step, Stream::RESET, 0, key, xi);
    quad.uniforms(0, args.step, Stream::RESET, 1, key, u);
    map_weights(args, row, quad, [&](int k, F w, const PackReader& read) {
      I distance = as_i(lane_index()) + static_cast<int32_t>(quad.column(k) - args.first_column);
      distance = select(distance < 0, distance + cols, distance);
      const M chosen = (distance < static_cast<int32_t>(args.n_columns)) & (u[k] < args.probability);
      return select(chosen, reset_value(read(kResetBias), args.amount, xi[k]), w);
    });
  }
};

struct Clip {
  LifecycleArgs args;

  explicit Clip(const LifecycleArgs& a) : args(a) {}

  RPU_FN void operator()(int64_t row, const Quad& quad) const {
    map_weights(args, row, quad, [](int, F w, const PackReader&) { return w; });
  }
};

struct Uniform {
  UniformArgs args;
  Key key;

  explicit Uniform(const UniformArgs& a) : args(a), key(make_key(a.seed)) {}

  RPU_FN void operator()(int64_t row, const Quad& quad) const {
    F u[4];
    quad.uniforms(0, args.step, args.stream, 0, key, u);
    for (int k = 0; k < 4; ++k)
      store(args.out.data + row * args.out.stride + quad.column(k), args.low + (args.high - args.low) * u[k],
            args.out.cols - quad.column(k));
  }
};

RPU_END
