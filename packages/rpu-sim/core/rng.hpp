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

/// kCalls calls side by side, each of four words: the rounds of one call wait for each other, those of two do not.
template <int kCalls = 1> RPU_FN void philox4x32(U* c, Key key) {
  for (int round = 0; round < 10; ++round) {
    RPU_UNROLL
    for (int i = 0; i < 4 * kCalls; i += 4) {
      U h0, l0, h1, l1;
      mulhilo(0xD2511F53u, c[i], h0, l0);
      mulhilo(0xCD9E8D57u, c[i + 2], h1, l1);
      c[i] = h1 ^ c[i + 1] ^ key.lo;
      c[i + 1] = l1;
      c[i + 2] = h0 ^ c[i + 3] ^ key.hi;
      c[i + 3] = l0;
    }
    key.lo += 0x9E3779B9u;
    key.hi += 0xBB67AE85u;
  }
}

RPU_FN void set_counter(U index, uint32_t sample, uint32_t step, Stream stream, U draw, U counter[4]) {
  counter[0] = index;
  counter[1] = broadcast(sample);
  counter[2] = broadcast(step);
  counter[3] = draw | (static_cast<uint32_t>(stream) << 24);
}

RPU_FN void philox(U index, uint32_t sample, uint32_t step, Stream stream, U draw, Key key, U out[4]) {
  set_counter(index, sample, step, stream, draw, out);
  philox4x32(out, key);
}

/// Uniform in [0, 1) from the top 24 bits.
RPU_FN F uniform(U word) { return to_f(as_i(word >> 8)) * 5.9604644775390625e-8f; }

/// Two independent standard normals from two words (Box and Muller).
RPU_FN void normal2(U a, U b, F& n0, F& n1) {
  const F radius = sqrt_(log_((to_f(as_i(a >> 8)) + 1.0f) * 5.9604644775390625e-8f) * -2.0f);
  F sine, cosine;
  sincos_turn(b, sine, cosine);
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

/// A number of packs that the compiler knows.
template <int kPacks> struct Packs {
  RPU_FN constexpr int operator()() const { return kPacks; }
};

/// Four packs of one row that share Philox calls. Column 64 g + 16 k + j takes word k of the call of lane j, so one
/// call serves four cells, all four words are used, and no result depends on the width of a pack.
struct Quad {
  U index;       // first counter word
  int64_t col;   // first column of pack 0; pack k starts at col + 16 k

  RPU_FN int64_t column(int k) const { return col + 16 * k; }
  /// Calls body(number of packs), 1, 2 or 4, all that hold some of `columns` columns: narrow rows need not pay for four.
  template <class Body> RPU_FN void with_packs(int64_t columns, Body&& body) const {
    if (columns > column(2)) body(Packs<4>{});
    else if (columns > column(1)) body(Packs<2>{});
    else body(Packs<1>{});
  }
  RPU_FN void words(uint32_t sample, uint32_t step, Stream stream, uint32_t draw, Key key, U out[4]) const {
    philox(index, sample, step, stream, broadcast(draw), key, out);
  }
  /// The first kPacks normals; the others are arbitrary.
  template <int kPacks = 4>
  RPU_FN void normals(uint32_t sample, uint32_t step, Stream stream, uint32_t draw, Key key, F out[4]) const {
    U w[4];
    words(sample, step, stream, draw, key, w);
    if constexpr (kPacks > 2) normal4(w, out);
    else normal2(w[0], w[1], out[0], out[1]);
  }
  RPU_FN void uniforms(uint32_t sample, uint32_t step, Stream stream, uint32_t draw, Key key, F out[4]) const {
    U w[4];
    words(sample, step, stream, draw, key, w);
    for (int k = 0; k < 4; ++k) out[k] = uniform(w[k]);
  }
};

/// Four normals for each of two quads, drawn side by side.
RPU_FN void normals_of_two(const Quad* quads, uint32_t sample, uint32_t step, Stream stream, uint32_t draw, Key key,
                           F (*out)[4]) {
  U w[8];
  set_counter(quads[0].index, sample, step, stream, broadcast(draw), w);
  set_counter(quads[1].index, sample, step, stream, broadcast(draw), w + 4);
  philox4x32<2>(w, key);
  normal4(w, out[0]);
  normal4(w + 4, out[1]);
}

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
