// Matrix product in a fixed order. Every element of C is the sum of chains of fused multiply-adds: chain p takes the inputs
// k = p, p + 16, p + 32, ... of a chunk of 512, in order,
//
//   s_p = fma(A[m][k], B[k][n], s_p)      C[m][n] = C[m][n] + s_0,  + s_1,  ...  + s_15      chunk after chunk
//
// or, for fewer than 64 inputs, a single chain. The order does not depend on the lane width, the blocking or the number of
// threads, and a fused multiply-add is correctly rounded, so every instruction set gives the same bits. Two loops compute
// it: with lanes along the columns n, one chain after the other, and with lanes along k, all chains at once, for a few
// rows of A and a B that is stored along k, which is then read once, in order.
#pragma once
#include "../kernels_mvm.hpp"
#include "../lane.hpp"

RPU_BEGIN

constexpr int kBlock = 64;        // columns of a block of C
constexpr int kSmallRows = 64;    // up to this many rows of A do not repay a copy of B
constexpr int kDotRows = 32;      // up to this many, a B that is stored along k is read so

#if RPU_LANES == 16 || defined(__aarch64__)
constexpr int kTileRows = 8;      // rows of C in registers, two packs each; 32 registers
#elif RPU_LANES == 8
constexpr int kTileRows = 6;      // 16 registers
#else
constexpr int kTileRows = 2;
#endif
constexpr int kMostPacks = 2 * kTileRows;  // of a single row: wide tiles of few rows read longer runs of memory
constexpr int kFewRows = kTileRows / 2;

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

// -- lanes along columns ---------------------------------------------------------------------------------------------

/// What becomes of the elements of C.
enum class Sum {
  kFresh,      // replaced: the sum of chains
  kContinued,  // the chains of a further chunk are added
  kOneChain    // continued by a single chain
};

/// C[kRows][kPacks packs] and one chain over k = 0, step, ... below `depth`.
template <int kRows, int kPacks>
RPU_FN void chain(const float* a, int64_t a_stride, const float* b, int64_t b_stride, int64_t step, int64_t depth,
                  float* c, int64_t c_stride, Sum kind) {
  F sum[kRows][kPacks] = {};
  if (kind == Sum::kOneChain)
    for (int r = 0; r < kRows; ++r)
      for (int v = 0; v < kPacks; ++v) sum[r][v] = load(c + r * c_stride + v * kLanes, kLanes);
  for (int64_t k = 0; k < depth; k += step, b += step * b_stride) {
    F column[kPacks];
    for (int v = 0; v < kPacks; ++v) column[v] = load(b + v * kLanes, kLanes);
    for (int r = 0; r < kRows; ++r)
      for (int v = 0; v < kPacks; ++v) sum[r][v] = fma_(broadcast(a[r * a_stride + k]), column[v], sum[r][v]);
  }
  for (int r = 0; r < kRows; ++r)
    for (int v = 0; v < kPacks; ++v) {
      float* at = c + r * c_stride + v * kLanes;
      const F before = kind == Sum::kContinued ? load(at, kLanes) : F{};
      store(at, kind == Sum::kOneChain ? sum[r][v] : before + sum[r][v], kLanes);
    }
}

/// All chains of one chunk, or a single one.
template <int kRows, int kPacks>
RPU_FN void tile(const float* a, int64_t a_stride, const float* b, int64_t b_stride, int64_t depth, float* c,
                 int64_t c_stride, Sum kind) {
  if (kind == Sum::kOneChain) return chain<kRows, kPacks>(a, a_stride, b, b_stride, 1, depth, c, c_stride, kind);
  int64_t p = 0;
  if (kind == Sum::kFresh)
    chain<kRows, kPacks>(a, a_stride, b, b_stride, kChains, depth - p++, c, c_stride, Sum::kFresh);
  for (; p < kChains && p < depth; ++p)
    chain<kRows, kPacks>(a + p, a_stride, b + p * b_stride, b_stride, kChains, depth - p, c, c_stride, Sum::kContinued);
}

template <int kPacks, int kRows = kTileRows>
RPU_FN void tile_of(int64_t rows, const float* a, int64_t a_stride, const float* b, int64_t b_stride, int64_t depth,
                    float* c, int64_t c_stride, Sum kind) {
  if constexpr (kRows > 1) {
    if (rows < kRows) return tile_of<kPacks, kRows - 1>(rows, a, a_stride, b, b_stride, depth, c, c_stride, kind);
  }
  tile<kRows, kPacks>(a, a_stride, b, b_stride, depth, c, c_stride, kind);
}

/// Packed part of B; one per thread.
constexpr int64_t kPackedFloats = kChunk * kBlock;

/// One stripe of C, kPacks packs wide, all rows, one chunk.
template <int kPacks>
RPU_FN void stripe(const float* a, int64_t a_stride, int64_t rows, const Operand& b, int64_t k, int64_t depth,
                   int64_t n, int64_t n_end, float* c, int64_t c_stride, Sum kind, float* packed) {
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
    tile_of<kPacks>(rows - m, a + m * a_stride + k, a_stride, operand, stride, depth, c + m * c_stride, c_stride,
                           kind);
}

/// Stripes of exactly kRows rows from a B that is read in place, wide ones first, as their runs in memory are longer;
/// returns the first column that is left.
template <int kRows, int kPacks = kMostPacks / kRows>
RPU_FN int64_t stripes_in_place(const float* a, int64_t a_stride, const Operand& b, int64_t k, int64_t depth, int64_t n,
                                int64_t n_end, float* c, int64_t c_stride, Sum kind) {
  constexpr int64_t kWidth = kPacks * kLanes;
  for (; n + kWidth <= n_end; n += kWidth, c += kWidth)
    tile<kRows, kPacks>(a + k, a_stride, b.data + k * b.stride + n, b.stride, depth, c, c_stride, kind);
  if constexpr (kPacks > 2)
    return stripes_in_place<kRows, kPacks / 2>(a, a_stride, b, k, depth, n, n_end, c, c_stride, kind);
  return n;
}

template <int kRows = kFewRows>
RPU_FN int64_t few_rows_in_place(const float* a, int64_t a_stride, int64_t rows, const Operand& b, int64_t k, int64_t depth,
                                 int64_t n, int64_t n_end, float* c, int64_t c_stride, Sum kind) {
  if constexpr (kRows > 1) {
    if (rows < kRows) return few_rows_in_place<kRows - 1>(a, a_stride, rows, b, k, depth, n, n_end, c, c_stride, kind);
  }
  return stripes_in_place<kRows>(a, a_stride, b, k, depth, n, n_end, c, c_stride, kind);
}

void along_columns(const float* a, int64_t a_stride, int64_t rows, const Operand& b, int64_t depth, int64_t n,
                   int64_t n_end, float* c, int64_t c_stride, bool one_chain, float* packed) {
  const bool in_place = !b.transposed && !b.magnitude;
  for (int64_t k = 0; k < depth; k += kChunk) {
    const int64_t steps = depth - k < kChunk ? depth - k : kChunk;
    const Sum kind = one_chain ? Sum::kOneChain : k > 0 ? Sum::kContinued : Sum::kFresh;
    int64_t col = n;
    if (in_place && rows <= kFewRows) col = few_rows_in_place(a, a_stride, rows, b, k, steps, n, n_end, c, c_stride, kind);
    for (; col + kLanes < n_end; col += 2 * kLanes)
      stripe<2>(a, a_stride, rows, b, k, steps, col, n_end, c + (col - n), c_stride, kind, packed);
    if (col < n_end) stripe<1>(a, a_stride, rows, b, k, steps, col, n_end, c + (col - n), c_stride, kind, packed);
  }
}

// -- lanes along inputs ----------------------------------------------------------------------------------------------

constexpr int kParts = kChains / kLanes;  // packs of the chains of one element
constexpr int kDotTile = 4;               // rows of A together
constexpr int kDotColumns = 16;           // elements of a row of C whose chains are added together

/// All chains of kRows x kColumns elements over `blocks` times kChains inputs, to chains[r][column][kChains]. The columns
/// of B are its rows in memory; those beyond `last` repeat it.
template <int kRows, int kColumns>
RPU_FN void dot(const float* a, int64_t a_stride, const float* b, int64_t b_stride, int64_t last, int64_t blocks,
                float* chains) {
  F sum[kRows][kColumns][kParts] = {};
  const float* column[kColumns];
  for (int i = 0; i < kColumns; ++i) column[i] = b + (i < last ? i : last) * b_stride;
  for (int64_t k = 0; k < blocks * kChains; k += kChains)
    for (int part = 0; part < kParts; ++part) {
      const int64_t at = k + part * kLanes;
      F x[kRows];
      for (int r = 0; r < kRows; ++r) x[r] = load(a + r * a_stride + at, kLanes);
      for (int i = 0; i < kColumns; ++i) {
        const F w = load(column[i] + at, kLanes);
        for (int r = 0; r < kRows; ++r) sum[r][i][part] = fma_(x[r], w, sum[r][i][part]);
      }
    }
  for (int r = 0; r < kRows; ++r)
    for (int i = 0; i < kColumns; ++i)
      for (int part = 0; part < kParts; ++part)
        store(chains + (r * kDotColumns + i) * kChains + part * kLanes, sum[r][i][part], kLanes);
}

/// The inputs beyond a multiple of kChains: chains that have ended keep their sums, and the sign of a zero.
RPU_FN void end_chains(const float* a, const float* b, int64_t left, float* chains) {
  for (int64_t p = 0; p < left; p += kLanes) {
    const F sum = load(chains + p, kLanes), longer = fma_(load(a + p, left - p), load(b + p, left - p), sum);
    store(chains + p, select(first_lanes(left - p), longer, sum), kLanes);
  }
}

/// C += chains in order, for at most kDotColumns elements of one row.
RPU_FN void add_chains(const float* chains, int64_t depth, int64_t columns, float* c, bool continues) {
  for (int64_t first = 0; first < columns; first += kLanes) {
    F total = continues ? load(c + first, kLanes) : F{};
    for (int p = 0; p < kChains; p += kTransposed) {
      F chain[kTransposed];
      load_transposed(chains + first * kChains + p, kChains, kLanes - 1, chain);
      for (int i = 0; i < kTransposed; ++i)
        if (p + i < depth) total = total + chain[i];
    }
    store(c + first, total, kLanes);
  }
}

/// kDotColumns columns of C, at most, for kRows rows and one chunk.
template <int kRows = kDotTile>
RPU_FN void dots(int64_t rows, const float* a, int64_t a_stride, const float* b, int64_t b_stride, int64_t columns,
                 int64_t depth, float* c, int64_t c_stride, bool continues) {
  if constexpr (kRows > 1) {
    if (rows < kRows) return dots<kRows - 1>(rows, a, a_stride, b, b_stride, columns, depth, c, c_stride, continues);
  }
  constexpr int kColumns = kLanes < 16 ? (kRows == 1 ? 4 : 2) : (kRows == 1 ? 8 : 4);
  alignas(64) float chains[kRows * kDotColumns * kChains];
  const int64_t blocks = depth / kChains, end = blocks * kChains;
  for (int64_t i = 0; i < columns; i += kColumns)
    dot<kRows, kColumns>(a, a_stride, b + i * b_stride, b_stride, columns - i - 1, blocks, chains + i * kChains);
  for (int r = 0; r < kRows; ++r) {
    float* of_row = chains + r * kDotColumns * kChains;
    if (end < depth)
      for (int64_t i = 0; i < columns; ++i)
        end_chains(a + r * a_stride + end, b + i * b_stride + end, depth - end, of_row + i * kChains);
    add_chains(of_row, depth, columns, c + r * c_stride, continues);
  }
}

/// A few rows of A times the columns [n, n_end) of a transposed B, which is read once, in order.
void along_inputs(const float* a, int64_t a_stride, int64_t rows, const Operand& b, int64_t depth, int64_t n,
                  int64_t n_end, float* c, int64_t c_stride) {
  for (int64_t col = n; col < n_end; col += kDotColumns) {
    const int64_t columns = n_end - col < kDotColumns ? n_end - col : kDotColumns;
    for (int64_t k = 0; k < depth; k += kChunk)
      for (int64_t m = 0; m < rows; m += kDotTile)
        dots(rows - m, a + m * a_stride + k, a_stride, b.data + col * b.stride + k, b.stride, columns,
             depth - k < kChunk ? depth - k : kChunk, c + m * c_stride + (col - n), c_stride, k > 0);
  }
}

// -- a block of C ----------------------------------------------------------------------------------------------------

/// C += A B for the columns [n, n_end) of B and `rows` rows of A, as one chain that starts with C. C is read and written
/// in whole packs.
void accumulate_block(const float* a, int64_t a_stride, int64_t rows, const Operand& b, int64_t depth, int64_t n,
                      int64_t n_end, float* c, int64_t c_stride, float* packed) {
  along_columns(a, a_stride, rows, b, depth, n, n_end, c, c_stride, true, packed);
}

/// C = A B.
void multiply_block(const float* a, int64_t a_stride, int64_t rows, const Operand& b, int64_t depth, int64_t n,
                    int64_t n_end, float* c, int64_t c_stride, float* packed) {
  if (depth < kWorthChains) {
    for (int64_t m = 0; m < rows; ++m)
      for (int64_t col = n; col < n_end; col += kLanes) store(c + m * c_stride + (col - n), F{}, kLanes);
    accumulate_block(a, a_stride, rows, b, depth, n, n_end, c, c_stride, packed);
  } else if (b.transposed && !b.magnitude && rows <= kDotRows) {
    along_inputs(a, a_stride, rows, b, depth, n, n_end, c, c_stride);
  } else {
    along_columns(a, a_stride, rows, b, depth, n, n_end, c, c_stride, false, packed);
  }
}

RPU_END
