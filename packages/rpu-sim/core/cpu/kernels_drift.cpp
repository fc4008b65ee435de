// Drift of the stored weights. Compiled once per instruction-set level.
#include "../kernels.hpp"
#include "../physics/drift.hpp"
#include "../physics/population.hpp"

RPU_BEGIN

/// Calls body(quad, k, w, before, memory, nu, read) for every pack; the body changes w and memory.
template <class Body> RPU_FN void map_drift(const DriftArgs& args, Range rows, Body&& body) {
  for (int64_t row = rows.begin; row < rows.end; ++row)
    for_each_quad(row, args.weights.cols, [&](const Quad& quad) {
      for (int k = 0; k < 4; ++k) {
        const int64_t col = quad.column(k), n = args.weights.cols - col;
        if (n <= 0) break;
        const int64_t at = row * args.weights.stride + col;
        F w = load(args.weights.data + at, n);
        const F nu = args.nu.stride == 0 ? broadcast(*args.nu.data) : load(args.nu.data + row * args.nu.stride + col, n);
        DriftMemory memory{load(args.age + at, n), load(args.start + at, n), load(args.seen + at, n)};
        body(quad, k, at, n, w, memory, nu, PackReader{args.cells, row, col, n});
        store(args.weights.data + at, w, n);
        store(args.age + at, memory.age, n);
        store(args.start + at, memory.start, n);
        store(args.seen + at, memory.seen, n);
      }
    });
}

void drift(const DriftArgs& args, Range rows) {
  const Drift law(*args.params);
  const Key key = make_key(args.seed);
  map_drift(args, rows, [&](const Quad& quad, int k, int64_t, int64_t, F& w, DriftMemory& m, F nu, const PackReader& read) {
    F xi_nu[4] = {}, xi_noise[4] = {};
    if (law.nu_std > 0.0f) quad.normals(0, args.step, Stream::DRIFT, kDrawDriftExponent, key, xi_nu);
    if (law.noise > 0.0f) quad.normals(0, args.step, Stream::DRIFT, kDrawDriftNoise, key, xi_noise);
    w = clip(law.drifted(w, m, nu, args.duration, xi_nu[k], xi_noise[k]), read.bound(kMinBound), read.bound(kMaxBound));
    m.seen = w;
  });
}

void follow(const DriftArgs& args, Range rows) {
  const Drift law(*args.params);
  map_drift(args, rows, [&](const Quad&, int, int64_t at, int64_t n, F& w, DriftMemory& m, F nu, const PackReader&) {
    law.follow(load(args.before + at, n), w, m, nu);
  });
}

/// nu (1 + nu_dtod xi) for every cell.
void draw_exponents(const DriftArgs& args, Range rows) {
  const Key key = make_key(args.seed);
  for (int64_t row = rows.begin; row < rows.end; ++row)
    for_each_quad(row, args.weights.cols, [&](const Quad& quad) {
      F xi[4];
      quad.normals(0, 0, Stream::POPULATION, kDrawDriftNu, key, xi);
      for (int k = 0; k < 4; ++k) {
        const int64_t col = quad.column(k), n = args.weights.cols - col;
        if (n > 0) store(args.nu.data + row * args.nu.stride + col, args.params->nu * (1.0f + args.params->nu_dtod * xi[k]), n);
      }
    });
}

RPU_END

namespace rpu::RPU_LEVEL {

void register_drift(DriftKernels& table) {
  table.drift = drift;
  table.follow = follow;
  table.draw_exponents = draw_exponents;
}

}  // namespace rpu::RPU_LEVEL
