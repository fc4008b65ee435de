// Random numbers as a pure function of (key, counter): Philox4x32-10 (Salmon et al., SC 2011, doi:10.1145/2063384.2063405).
//
// counter = {index, sample, step, stream << 24 | draw}
//   index   which cells: see Group below; or the cell itself for per-pulse draws
//   sample  global index of the sample (0 where there is none)
//   step    call counter of the operation; draw: number of the draw within the call
// There is no generator state: results do not depend on threads, lane width or device.
#pragma once
#include "fmath.hpp"
#include "params.gen.hpp"

RPU_BEGIN

struct Key {
  uint32_t lo, hi;
};

RPU_FN Key make_key(uint64_t seed) { return {static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)}; }

RPU_FN void philox4x32(U c[4], Key key) {
  for (int round = 0; round < 10; ++round) {
    U h0, l0, h1, l1;
    mulhilo(0xD2511F53u, c[0], h0, l0);
    mulhilo(0xCD9E8D57u, c[2], h1, l1);
    c[0] = h1 ^ c[1] ^ key.lo;
    c[1] = l1;
    c[2] = h0 ^ c[3] ^ key.hi;
    c[3] = l0;
    key.lo += 0x9E3779B9u;
    key.hi += 0xBB67AE85u;
  }
}

RPU_FN void philox(U index, uint32_t sample, uint32_t step, Stream stream, U draw, Key key, U out[4]) {
  out[0] = index;
  out[1] = broadcast(sample);
  out[2] = broadcast(step);
  out[3] = draw | (static_cast<uint32_t>(stream) << 24);
  philox4x32(out, key);
}

/// Uniform in [0, 1) from the top 24 bits.
RPU_FN F uniform(U word) { return to_f(as_i(word >> 8)) * 5.9604644775390625e-8f; }

/// Two independent standard normals from two words (Box and Muller).
RPU_FN void normal2(U a, U b, F& n0, F& n1) {
  const F radius = sqrt_(log_((to_f(as_i(a >> 8)) + 1.0f) * 5.9604644775390625e-8f) * -2.0f);
  F sine, cosine;
  sincos2pi(uniform(b), sine, cosine);
  n0 = radius * cosine;
  n1 = radius * sine;
}

RPU_FN void normal4(const U words[4], F n[4]) {
  normal2(words[0], words[1], n[0], n[1]);
  normal2(words[2], words[3], n[2], n[3]);
}

constexpr int kGroup = 64;                // columns that share Philox calls
constexpr int kGroupCalls = kGroup / 4;   // Philox calls (lanes 0..15) of a group

RPU_FN int64_t groups(int64_t columns) { return (columns + kGroup - 1) / kGroup; }

/// Four packs of one row that share Philox calls. Column 64 g + 16 k + j takes word k of the call of lane j, so one
/// call serves four cells, all four words are used, and no result depends on the width of a pack.
struct Quad {
  U index;       // first counter word
  int64_t col;   // first column of pack 0; pack k starts at col + 16 k

  RPU_FN int64_t column(int k) const { return col + 16 * k; }
  RPU_FN void words(uint32_t sample, uint32_t step, Stream stream, uint32_t draw, Key key, U out[4]) const {
    philox(index, sample, step, stream, broadcast(draw), key, out);
  }
  RPU_FN void normals(uint32_t sample, uint32_t step, Stream stream, uint32_t draw, Key key, F out[4]) const {
    U w[4];
    words(sample, step, stream, draw, key, w);
    normal4(w, out);
  }
  RPU_FN void uniforms(uint32_t sample, uint32_t step, Stream stream, uint32_t draw, Key key, F out[4]) const {
    U w[4];
    words(sample, step, stream, draw, key, w);
    for (int k = 0; k < 4; ++k) out[k] = uniform(w[k]);
  }
};

/// Calls body(quad) for the columns of a row in a range of groups of 64.
template <class Body> RPU_FN void for_each_quad(int64_t row, int64_t columns, int64_t first_group, int64_t end, Body&& body) {
  const int64_t n = groups(columns);
  for (int64_t g = first_group; g < end; ++g)
    for (int h = 0; h < kGroupCalls; h += kLanes) {
      if (g * kGroup + h >= columns) break;
      const uint32_t first = static_cast<uint32_t>((row * n + g) * kGroupCalls + h);
      body(Quad{lane_index() + first, g * kGroup + h});
    }
}

/// The same for all columns of a row; `row` is 0 for one-dimensional arrays.
template <class Body> RPU_FN void for_each_quad(int64_t row, int64_t columns, Body&& body) {
  for_each_quad(row, columns, 0, groups(columns), body);
}

/// The same for the quads of one group of 64 columns of row 0.
template <class Body> RPU_FN void for_each_quad_of_group(int64_t group, int64_t columns, Body&& body) {
  for (int h = 0; h < kGroupCalls && group * kGroup + h < columns; h += kLanes)
    body(Quad{lane_index() + static_cast<uint32_t>(group * kGroupCalls + h), group * kGroup + h});
}

RPU_END
