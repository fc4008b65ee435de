// What the array shows of one quad of stored weights, with write noise; the loops around it are in cpu/ and cuda/.
#pragma once
#include "../physics/write_noise.hpp"
#include "coincidences.hpp"

RPU_BEGIN

/// Calls choose(col, shown, anew) for every pack of a quad, and stores the visible weight that it returns.
template <class Choose>
RPU_FN void map_visible(const WriteArgs& args, uint32_t draw, int64_t row, const Quad& quad, Choose&& choose) {
  float* visible = args.visible.data + row * args.visible.stride;
  F xi[4];
  quad.normals(args.chunk, args.step, Stream::WRITE_NOISE, draw, make_key(args.seed), xi);
  for (int k = 0; k < 4; ++k) {
    const int64_t col = quad.column(k), n = args.visible.cols - col;
    if (n <= 0) break;
    const F stored = load(args.stored.data + row * args.stored.stride + col, n);
    store(visible + col, choose(col, load(visible + col, n), written(stored, args.sigma, xi[k])), n);
  }
}

/// Cells that were pulsed; `source` is at the row.
template <class Source>
RPU_FN void write_pulsed_quad(const WriteArgs& args, const Source& source, int64_t row, const Quad& quad) {
  map_visible(args, kDrawPulsedWrite, row, quad, [&](int64_t col, F shown, F anew) {
    U touched{};
    for (int64_t w = 0; w < source.n_words; ++w) {
      U fired, up;
      source.word(w, col, fired, up);
      touched |= fired;
    }
    return select(touched != 0u, anew, shown);
  });
}

struct WriteAll {
  WriteArgs args;

  explicit WriteAll(const WriteArgs& a) : args(a) {}

  RPU_FN void operator()(int64_t row, const Quad& quad) const {
    map_visible(args, kDrawWrite, row, quad, [](int64_t, F, F anew) { return anew; });
  }
};

RPU_END
