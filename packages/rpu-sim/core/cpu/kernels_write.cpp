// Write noise: what the array shows of the stored weights. Compiled once per instruction-set level.
#include "../kernels.hpp"
#include "../physics/write_noise.hpp"
#include "coincidences.hpp"

RPU_BEGIN

/// Calls body(quad, k, col, n, shown) for every pack of a row, and stores the visible weight that it returns.
template <class Body> RPU_FN void map_visible(const WriteArgs& args, int64_t row, Body&& body) {
  float* visible = args.visible.data + row * args.visible.stride;
  for_each_quad(row, args.visible.cols, [&](const Quad& quad) {
    F xi[4];
    quad.normals(args.chunk, args.step, Stream::WRITE_NOISE, args.pulses ? kDrawPulsedWrite : kDrawWrite,
                 make_key(args.seed), xi);
    for (int k = 0; k < 4; ++k) {
      const int64_t col = quad.column(k), n = args.visible.cols - col;
      if (n <= 0) break;
      const F stored = load(args.stored.data + row * args.stored.stride + col, n);
      store(visible + col, body(col, n, load(visible + col, n), written(stored, args.sigma, xi[k])), n);
    }
  });
}

template <class Source> void write_pulsed_from(const WriteArgs& args, Range rows) {
  Source source(*args.pulses, args.flip);
  for (int64_t row = rows.begin; row < rows.end; ++row) {
    source.set_row(row);
    map_visible(args, row, [&](int64_t col, int64_t, F shown, F anew) {
      U touched{};
      for (int64_t w = 0; w < source.n_words; ++w) {
        U fired, up;
        source.word(w, col, fired, up);
        touched |= fired;
      }
      return select(touched != 0u, anew, shown);
    });
  }
}

void write_pulsed(const WriteArgs& args, Range rows) {
  for_source(*args.pulses, [&](auto tag) { write_pulsed_from<typename decltype(tag)::Source>(args, rows); });
}

void write(const WriteArgs& args, Range rows) {
  for (int64_t row = rows.begin; row < rows.end; ++row)
    map_visible(args, row, [](int64_t, int64_t, F, F anew) { return anew; });
}

RPU_END

namespace rpu::RPU_LEVEL {

void register_write(WriteKernels& table) {
  table.pulsed = write_pulsed;
  table.all = write;
}

}  // namespace rpu::RPU_LEVEL
