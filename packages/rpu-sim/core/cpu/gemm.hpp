// Matrix product in a fixed order: every element of C is one chain of fused multiply-adds over k = 0, 1, 2, ...
//
//   C[m][n] = fma(A[m][k], B[k][n], C[m][n])
//
// The order does not depend on the lane width, the blocking or the number of threads, and a fused multiply-add is
// correctly rounded, so every instruction set gives the same bits. Lanes are columns n.
#pragma once
#include "../views.hpp"
#include "../lane.hpp"

RPU_BEGIN

constexpr int kBlock = 64;        // columns of a block of C
constexpr int kChunk = 256;       // rows of B that are packed at a time: a stripe of them fits the first-level cache
constexpr int kSmallChunk = 64;   // the same for at most kSmallRows rows of A
constexpr int kFewChunk = 16;     // and for at most kFewRows, so that B is read along its rows
constexpr int kSmallRows = 8;     // up to this many rows of A do not repay a copy of B
constexpr int kFewRows = 4;       // up to this many, a transposed B goes through registers only
constexpr int64_t kMostBeside = 12288;  // floats of a pack of rows up to which two packs are read beside each other
constexpr int kWideRows = 2;      // up to this many, stripes are wider to hide the latency of a multiply-add

#if RPU_LANES == 16 || defined(__aarch64__)
constexpr int kTileRows = 8;      // rows of C held in registers, two packs each; 32 registers
#elif RPU_LANES == 8
constexpr int kTileRows = 6;      // 16 registers
#else
constexpr int kTileRows = 2;
#endif

/// B[k][n] = data[k * stride + n], or data[n * stride + k] when transposed; its absolute value if `magnitude`.
struct Operand {
  const float* data;
  int64_t stride;
  bool transposed, magnitude;
};

// -- packing ----------------------------------------------------------------------------------------------------------

constexpr int kTransposed = RPU_LANES == 16 ? 8 : 4;  // columns that are transposed at a time

/// Transposes four values of kLanes rows: t[r] holds the four values of row 4 q + r in its 128-bit part q, out[c] gets
/// value c of the rows 0, 1, ...
RPU_FN void transpose_parts(const F t[4], F out[4]) {
#if RPU_LANES == 1
  for (int c = 0; c < 4; ++c) out[c] = t[c];
#elif defined(__aarch64__)
  const auto lo = [](F a, F b) { return (float64x2_t)vtrn1q_f32((float32x4_t)a, (float32x4_t)b); };
  const auto hi = [](F a, F b) { return (float64x2_t)vtrn2q_f32((float32x4_t)a, (float32x4_t)b); };
  out[0] = (F)vtrn1q_f64(lo(t[0], t[1]), lo(t[2], t[3]));
  out[1] = (F)vtrn1q_f64(hi(t[0], t[1]), hi(t[2], t[3]));
  out[2] = (F)vtrn2q_f64(lo(t[0], t[1]), lo(t[2], t[3]));
  out[3] = (F)vtrn2q_f64(hi(t[0], t[1]), hi(t[2], t[3]));
#else
#  if RPU_LANES == 16
#    define RPU_X86(op, type, a, b) _mm512_##op((__m512##type)(a), (__m512##type)(b))
#  elif RPU_LANES == 8
#    define RPU_X86(op, type, a, b) _mm256_##op((__m256##type)(a), (__m256##type)(b))
#  else
#    define RPU_X86(op, type, a, b) _mm_##op((__m128##type)(a), (__m128##type)(b))
#  endif
  const F a = (F)RPU_X86(unpacklo_ps, , t[0], t[1]), b = (F)RPU_X86(unpackhi_ps, , t[0], t[1]);
  const F c = (F)RPU_X86(unpacklo_ps, , t[2], t[3]), d = (F)RPU_X86(unpackhi_ps, , t[2], t[3]);
  out[0] = (F)RPU_X86(unpacklo_pd, d, a, c);
  out[1] = (F)RPU_X86(unpackhi_pd, d, a, c);
  out[2] = (F)RPU_X86(unpacklo_pd, d, b, d);
  out[3] = (F)RPU_X86(unpackhi_pd, d, b, d);
#  undef RPU_X86
#endif
}

/// kTransposed columns of kLanes rows: out[c] holds column c of the rows p, p + stride, ... up to row `last`, which is
/// repeated in the lanes beyond.
RPU_FN void load_transposed(const float* p, int64_t stride, int last, F out[kTransposed]) {
  const auto row = [&](int i) { return p + (i < last ? i : last) * stride; };
#if RPU_LANES == 1
  for (int c = 0; c < 4; ++c) out[c] = row(0)[c];
#elif RPU_LANES == 4
  F t[4];
  for (int r = 0; r < 4; ++r) t[r] = load(row(r), 4);
  transpose_parts(t, out);
#elif RPU_LANES == 8
  F t[4];
  for (int r = 0; r < 4; ++r)
    t[r] = (F)_mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(row(r))), _mm_loadu_ps(row(r + 4)), 1);
  transpose_parts(t, out);
#else
  F half[8];  // eight values of rows i and i + 8
  for (int i = 0; i < 8; ++i)
    half[i] = (F)_mm512_insertf32x8(_mm512_castps256_ps512(_mm256_loadu_ps(row(i))), _mm256_loadu_ps(row(i + 8)), 1);
  const __m512i first = _mm512_setr_epi32(0, 1, 2, 3, 16, 17, 18, 19, 8, 9, 10, 11, 24, 25, 26, 27);
  const __m512i second = _mm512_add_epi32(first, _mm512_set1_epi32(4));
  F t[4];
  for (int r = 0; r < 4; ++r) t[r] = (F)_mm512_permutex2var_ps((__m512)half[r], first, (__m512)half[r + 4]);
  transpose_parts(t, out);
  for (int r = 0; r < 4; ++r) t[r] = (F)_mm512_permutex2var_ps((__m512)half[r], second, (__m512)half[r + 4]);
  transpose_parts(t, out + 4);
#endif
}

/// Columns n .. n + packs * kLanes of B, rows k .. k + depth, into out[depth][packs * kLanes]. Lanes from n_end on are
/// arbitrary.
RPU_FN void pack_rows(const Operand& b, int64_t k, int64_t depth, int64_t n, int64_t n_end, int packs, float* out) {
  for (int64_t i = 0; i < depth; ++i)
    for (int v = 0; v < packs; ++v, out += kLanes) {
      const int64_t col = n + v * kLanes;
      const F value = load(b.data + (k + i) * b.stride + col, n_end - col);
      store(out, b.magnitude ? abs_(value) : value, kLanes);
    }
}

/// The same for one pack of columns of a transposed B; `width` is the distance between rows of `out`.
RPU_FN void pack_transposed(const Operand& b, int64_t k, int64_t depth, int64_t n, int64_t n_end, int64_t width,
                            float* out) {
  const float* rows = b.data + n * b.stride + k;
  const int last = static_cast<int>(n_end - n < kLanes ? n_end - n : kLanes) - 1;
  int64_t i = 0;
  while (i < depth && depth >= kTransposed) {
    if (i + kTransposed > depth) i = depth - kTransposed;  // the last step may overlap the one before
    F column[kTransposed];
    if (last == kLanes - 1) load_transposed(rows + i, b.stride, kLanes - 1, column);
    else load_transposed(rows + i, b.stride, last, column);
    for (int c = 0; c < kTransposed; ++c, ++i)
      store(out + i * width, b.magnitude ? abs_(column[c]) : column[c], kLanes);
  }
  for (; i < depth; ++i)
    for (int lane = 0; lane < kLanes; ++lane) {
      const float value = rows[(lane < last ? lane : last) * b.stride + i];
      out[i * width + lane] = b.magnitude ? __builtin_fabsf(value) : value;
    }
}

// -- the product in registers ----------------------------------------------------------------------------------------

/// C[kRows][kPacks packs], with `depth` steps of k.
template <int kRows, int kPacks>
RPU_FN void tile(const float* a, int64_t a_stride, const float* b, int64_t b_stride, int64_t depth, float* c,
                 int64_t c_stride, bool continues) {
  F sum[kRows][kPacks];
  for (int r = 0; r < kRows; ++r)
    for (int v = 0; v < kPacks; ++v) sum[r][v] = continues ? load(c + r * c_stride + v * kLanes, kLanes) : F{};
  for (int64_t k = 0; k < depth; ++k) {
    F column[kPacks];
    for (int v = 0; v < kPacks; ++v) column[v] = load(b + k * b_stride + v * kLanes, kLanes);
    for (int r = 0; r < kRows; ++r)
      for (int v = 0; v < kPacks; ++v) sum[r][v] = fma_(broadcast(a[r * a_stride + k]), column[v], sum[r][v]);
  }
  for (int r = 0; r < kRows; ++r)
    for (int v = 0; v < kPacks; ++v) store(c + r * c_stride + v * kLanes, sum[r][v], kLanes);
}

template <int kPacks, int kRows = kTileRows>
RPU_FN void tile_of(int rows, const float* a, int64_t a_stride, const float* b, int64_t b_stride, int64_t depth,
                    float* c, int64_t c_stride, bool continues) {
  if constexpr (kRows > 1) {
    if (rows < kRows) return tile_of<kPacks, kRows - 1>(rows, a, a_stride, b, b_stride, depth, c, c_stride, continues);
  }
  tile<kRows, kPacks>(a, a_stride, b, b_stride, depth, c, c_stride, continues);
}

/// The same for a B whose rows `b` are transposed on the fly; `depth` is a multiple of kTransposed. The lanes beyond
/// row `last` of each pack are arbitrary. A single pack asks the memory for its rows ahead of time.
template <int kRows, int kPacks>
RPU_FN void tile_transposed(const float* a, int64_t a_stride, const float* b, int64_t b_stride, int last, int64_t depth,
                            float* c, int64_t c_stride, bool continues) {
  constexpr int kRun = kPacks == 1 ? 16 : 32;  // steps of k in one pack before the next: whole cache lines
  F sum[kRows][kPacks];
  for (int r = 0; r < kRows; ++r)
    for (int v = 0; v < kPacks; ++v) sum[r][v] = continues ? load(c + r * c_stride + v * kLanes, kLanes) : F{};
  for (int64_t k = 0; k < depth; k += kRun) {
    if constexpr (kPacks == 1)
      for (int lane = 0; lane < kLanes; ++lane) __builtin_prefetch(b + lane * b_stride + k + 2 * kRun);
    for (int v = 0; v < kPacks; ++v)
      for (int64_t i = k; i < k + kRun && i < depth; i += kTransposed) {
        F column[kTransposed];
        load_transposed(b + v * kLanes * b_stride + i, b_stride, last, column);
        for (int j = 0; j < kTransposed; ++j)
          for (int r = 0; r < kRows; ++r) sum[r][v] = fma_(broadcast(a[r * a_stride + i + j]), column[j], sum[r][v]);
      }
  }
  for (int r = 0; r < kRows; ++r)
    for (int v = 0; v < kPacks; ++v) store(c + r * c_stride + v * kLanes, sum[r][v], kLanes);
}

/// A few rows of A (kRows at most) times the columns [n, n_end) of a transposed B.
template <int kRows>
RPU_FN void multiply_transposed(int rows, const float* a, int64_t a_stride, const Operand& b, int64_t depth, int64_t n,
                                int64_t n_end, float* c, int64_t c_stride, bool continues) {
  if constexpr (kRows > 1) {
    if (rows < kRows)
      return multiply_transposed<kRows - 1>(rows, a, a_stride, b, depth, n, n_end, c, c_stride, continues);
  }
  const float* operand = b.data + n * b.stride;
  int64_t left = n_end - n;
  // Two packs hide the latency of a multiply-add, but the memory does not follow so many long rows at a time.
  if (kLanes * b.stride <= kMostBeside)
    for (; left >= 2 * kLanes; left -= 2 * kLanes, operand += 2 * kLanes * b.stride, c += 2 * kLanes)
      tile_transposed<kRows, 2>(a, a_stride, operand, b.stride, kLanes - 1, depth, c, c_stride, continues);
  for (; left > 0; left -= kLanes, operand += kLanes * b.stride, c += kLanes) {
    const int last = static_cast<int>(left < kLanes ? left : kLanes) - 1;
    tile_transposed<kRows, 1>(a, a_stride, operand, b.stride, last, depth, c, c_stride, continues);
  }
}

// -- a block of C ----------------------------------------------------------------------------------------------------

/// Packed part of B; one per thread.
constexpr int64_t kPackedFloats = kChunk * kBlock;

/// One stripe of C, kPacks packs wide, all rows, `depth` steps of k.
template <int kPacks>
RPU_FN void stripe(const float* a, int64_t a_stride, int64_t rows, const Operand& b, int64_t k, int64_t depth,
                   int64_t n, int64_t n_end, float* c, int64_t c_stride, bool continues, float* packed) {
  const float* operand = packed;
  int64_t stride = kPacks * kLanes;
  if (b.transposed) {
    for (int v = 0; v < kPacks; ++v) pack_transposed(b, k, depth, n + v * kLanes, n_end, stride, packed + v * kLanes);
  } else if (rows > kSmallRows || b.magnitude || n + kPacks * kLanes > n_end) {
    pack_rows(b, k, depth, n, n_end, kPacks, packed);
  } else {  // so few rows do not repay a copy
    operand = b.data + k * b.stride + n;
    stride = b.stride;
  }
  for (int64_t m = 0; m < rows; m += kTileRows)
    tile_of<kPacks>(static_cast<int>(rows - m), a + m * a_stride + k, a_stride, operand, stride, depth,
                    c + m * c_stride, c_stride, continues);
}

/// C = A B for the columns [n, n_end) of B and `rows` rows of A; with `continues`, C += A B. C is
/// written in whole packs.
void multiply_block(const float* a, int64_t a_stride, int64_t rows, const Operand& b, int64_t depth, int64_t n,
                    int64_t n_end, float* c, int64_t c_stride, bool continues, float* packed) {
  int64_t k = 0;
  if (b.transposed && !b.magnitude && rows <= kFewRows && depth >= kTransposed) {
    k = depth / kTransposed * kTransposed;
    multiply_transposed<kFewRows>(static_cast<int>(rows), a, a_stride, b, k, n, n_end, c, c_stride, continues);
  }
  const int64_t chunk = rows <= kFewRows ? kFewChunk : rows <= kSmallRows ? kSmallChunk : kChunk;
  for (; k < depth; k += chunk) {
    const int64_t steps = depth - k < chunk ? depth - k : chunk;
    const bool more = continues || k > 0;
    int64_t col = n;
    if (rows <= kWideRows)
      for (; col + 3 * kLanes < n_end; col += 4 * kLanes)
        stripe<4>(a, a_stride, rows, b, k, steps, col, n_end, c + (col - n), c_stride, more, packed);
    for (; col + kLanes < n_end; col += 2 * kLanes)
      stripe<2>(a, a_stride, rows, b, k, steps, col, n_end, c + (col - n), c_stride, more, packed);
    if (col < n_end) stripe<1>(a, a_stride, rows, b, k, steps, col, n_end, c + (col - n), c_stride, more, packed);
  }
}

RPU_END
