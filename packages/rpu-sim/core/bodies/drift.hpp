// Drift of one quad of cells; the loops around it are in cpu/ and cuda/.
#pragma once
#include "../kernels.hpp"
#include "../physics/cell.hpp"
#include "../physics/drift.hpp"
#include "../physics/population.hpp"

RPU_BEGIN

/// Calls law(k, place in the arrays, n, w, memory, nu, read) for every pack; it changes w and memory.
template <class Law> RPU_FN void map_drift(const DriftArgs& args, int64_t row, const Quad& quad, Law&& law) {
  for (int k = 0; k < 4; ++k) {
    const int64_t col = quad.column(k), n = args.weights.cols - col;
    if (n <= 0) break;
    const int64_t at = row * args.weights.stride + col;
    F w = load(args.weights.data + at, n);
    const F nu = args.nu.stride == 0 ? broadcast(*args.nu.data) : load(args.nu.data + row * args.nu.stride + col, n);
    DriftMemory memory{load(args.age + at, n), load(args.start + at, n), load(args.seen + at, n)};
    law(k, at, n, w, memory, nu, PackReader{args.cells, row, col, n});
    store(args.weights.data + at, w, n);
    store(args.age + at, memory.age, n);
    store(args.start + at, memory.start, n);
    store(args.seen + at, memory.seen, n);
  }
}

struct LetDrift {
  DriftArgs args;
  Drift law;
  Key key;

  explicit LetDrift(const DriftArgs& a) : args(a), law(*a.params), key(make_key(a.seed)) {}

  RPU_FN void operator()(int64_t row, const Quad& quad) const {
    F xi_nu[4] = {}, xi_noise[4] = {};
    if (law.nu_std > 0.0f) quad.normals(0, args.step, Stream::DRIFT, kDrawDriftExponent, key, xi_nu);
    if (law.noise > 0.0f) quad.normals(0, args.step, Stream::DRIFT, kDrawDriftNoise, key, xi_noise);
    map_drift(args, row, quad, [&](int k, int64_t, int64_t, F& w, DriftMemory& m, F nu, const PackReader& read) {
      w = clip(law.drifted(w, m, nu, args.duration, xi_nu[k], xi_noise[k]), read.bound(kMinBound), read.bound(kMaxBound));
      m.seen = w;
    });
  }
};

struct FollowDrift {
  DriftArgs args;
  Drift law;

  explicit FollowDrift(const DriftArgs& a) : args(a), law(*a.params) {}

  RPU_FN void operator()(int64_t row, const Quad& quad) const {
    map_drift(args, row, quad, [&](int, int64_t at, int64_t n, F& w, DriftMemory& m, F nu, const PackReader&) {
      law.follow(load(args.before + at, n), w, m, nu);
    });
  }
};

/// nu (1 + nu_dtod xi) for every cell.
struct DrawDriftExponents {
  Field out;
  int64_t cols;
  float nu, nu_dtod;
  Key key;

  explicit DrawDriftExponents(const DriftArgs& a)
      : out(a.nu), cols(a.weights.cols), nu(a.params->nu), nu_dtod(a.params->nu_dtod), key(make_key(a.seed)) {}

  RPU_FN void operator()(int64_t row, const Quad& quad) const {
    F xi[4];
    quad.normals(0, 0, Stream::POPULATION, kDrawDriftNu, key, xi);
    for (int k = 0; k < 4; ++k) {
      const int64_t col = quad.column(k), n = cols - col;
      if (n > 0) store(out.data + row * out.stride + col, nu * (1.0f + nu_dtod * xi[k]), n);
    }
  }
};

RPU_END
