// One vocabulary for "a value per crosspoint": a scalar on the GPU and in portable code, a SIMD pack on the CPU.
//
// Every physics header is compiled once per instruction-set level, inside namespace rpu::RPU_LEVEL and an anonymous
// namespace, so that the linker can never pick code of one level for another. The lane is chosen by that namespace:
// F, I, U are a float, a signed and an unsigned 32-bit integer per cell, M is the result of a comparison; any(m) and
// number(m) say whether and in how many lanes it holds.
//
// RPU_LEVEL  namespace of the level (isa_scalar, isa_v2, isa_v3, isa_v4, isa_v4x, isa_aarch64, cuda)
// RPU_LANES  cells per pack; 1 gives plain scalars
#pragma once
#include <stddef.h>
#include <stdint.h>

#if defined(__x86_64__) && RPU_LANES > 1
#  include <immintrin.h>
#elif defined(__aarch64__) && RPU_LANES > 1
#  include <arm_neon.h>
#endif

#if defined(__CUDACC__)
#  define RPU_FN __host__ __device__ __forceinline__
#else
#  define RPU_FN inline __attribute__((always_inline))
#endif

/// A loop whose body calls nothing that stays a function: lambdas are inlined too, and its constants stay in registers.
#if defined(__CUDACC__)
#  define RPU_FLAT
#else
#  define RPU_FLAT __attribute__((flatten))
#endif

/// Before a short loop over packs: unrolled, their chains of operations run beside each other.
#if defined(__CUDACC__) || defined(__clang__)
#  define RPU_UNROLL _Pragma("unroll")
#else
#  define RPU_UNROLL _Pragma("GCC unroll 4")
#endif

#define RPU_BEGIN        \
  namespace rpu {        \
  namespace RPU_LEVEL {  \
  namespace {
#define RPU_END \
  }             \
  }             \
  }

RPU_BEGIN

#if RPU_LANES == 1

using F = float;
using I = int32_t;
using U = uint32_t;
using M = bool;
constexpr int kLanes = 1;

RPU_FN F bits_to_f(U u) { F f; __builtin_memcpy(&f, &u, 4); return f; }
RPU_FN U f_to_bits(F f) { U u; __builtin_memcpy(&u, &f, 4); return u; }
RPU_FN F to_f(I i) { return static_cast<F>(i); }
RPU_FN I to_i(F f) { return static_cast<I>(f); }  // truncates; the argument must be in range
RPU_FN I as_i(U u) { return static_cast<I>(u); }
RPU_FN U as_u(I i) { return static_cast<U>(i); }
RPU_FN F broadcast(float v) { return v; }
RPU_FN I broadcast(int32_t v) { return v; }
RPU_FN U broadcast(uint32_t v) { return v; }
RPU_FN U lane_index() { return 0; }
template <class T> RPU_FN T select(M m, T a, T b) { return m ? a : b; }
RPU_FN bool any(M m) { return m; }
RPU_FN int number(M m) { return m; }
#  if defined(__CUDA_ARCH__)
RPU_FN F sqrt_(F x) { return __fsqrt_rn(x); }
RPU_FN F fma_(F a, F b, F c) { return __fmaf_rn(a, b, c); }
RPU_FN U popcount(U x) { return __popc(x); }
#  else
RPU_FN F sqrt_(F x) { return __builtin_sqrtf(x); }
RPU_FN F fma_(F a, F b, F c) { return __builtin_fmaf(a, b, c); }
RPU_FN U popcount(U x) { return static_cast<U>(__builtin_popcount(x)); }
#  endif
RPU_FN void mulhilo(uint32_t m, U a, U& hi, U& lo) {
  const uint64_t p = static_cast<uint64_t>(m) * a;
  hi = static_cast<U>(p >> 32);
  lo = static_cast<U>(p);
}

#else

typedef float F __attribute__((vector_size(4 * RPU_LANES)));
typedef int32_t I __attribute__((vector_size(4 * RPU_LANES)));
typedef uint32_t U __attribute__((vector_size(4 * RPU_LANES)));
typedef I M;  // -1 where true
constexpr int kLanes = RPU_LANES;

RPU_FN F bits_to_f(U u) { return reinterpret_cast<F>(u); }
RPU_FN U f_to_bits(F f) { return reinterpret_cast<U>(f); }
RPU_FN F to_f(I i) { return __builtin_convertvector(i, F); }
RPU_FN I to_i(F f) { return __builtin_convertvector(f, I); }  // truncates; the argument must be in range
RPU_FN I as_i(U u) { return reinterpret_cast<I>(u); }
RPU_FN U as_u(I i) { return reinterpret_cast<U>(i); }
RPU_FN F broadcast(float v) { return v - F{}; }
RPU_FN I broadcast(int32_t v) { return v - I{}; }
RPU_FN U broadcast(uint32_t v) { return v - U{}; }
RPU_FN U lane_index() {
  U u;
  for (int i = 0; i < kLanes; ++i) u[i] = static_cast<uint32_t>(i);
  return u;
}
template <class T> RPU_FN T select(M m, T a, T b) { return m ? a : b; }

#  if RPU_LANES == 16 && defined(__AVX512F__)
RPU_FN bool any(M m) { return _mm512_test_epi32_mask((__m512i)m, (__m512i)m) != 0; }
RPU_FN int number(M m) { return __builtin_popcount(_mm512_test_epi32_mask((__m512i)m, (__m512i)m)); }
RPU_FN F sqrt_(F x) { return (F)_mm512_sqrt_ps((__m512)x); }
RPU_FN F fma_(F a, F b, F c) { return (F)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c); }
RPU_FN void mulhilo(uint32_t m, U a, U& hi, U& lo) {
  const __m512i x = (__m512i)a, k = _mm512_set1_epi32((int)m);
  const __m512i even = _mm512_mul_epu32(x, k), odd = _mm512_mul_epu32(_mm512_srli_epi64(x, 32), k);
  lo = (U)_mm512_mask_shuffle_epi32(even, 0xAAAA, odd, _MM_PERM_CCAA);
  hi = (U)_mm512_mask_shuffle_epi32(odd, 0x5555, even, _MM_PERM_DDBB);
}
#    if defined(__AVX512VPOPCNTDQ__)
RPU_FN U popcount(U x) { return (U)_mm512_popcnt_epi32((__m512i)x); }
#    else
RPU_FN U popcount(U x) {
  const __m512i table = _mm512_broadcast_i32x4(_mm_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4));
  const __m512i nibble = _mm512_set1_epi8(15), v = (__m512i)x;
  const __m512i bytes = _mm512_add_epi8(_mm512_shuffle_epi8(table, _mm512_and_si512(v, nibble)),
                                        _mm512_shuffle_epi8(table, _mm512_and_si512(_mm512_srli_epi16(v, 4), nibble)));
  return (U)_mm512_madd_epi16(_mm512_maddubs_epi16(bytes, _mm512_set1_epi8(1)), _mm512_set1_epi16(1));
}
#    endif
#  elif RPU_LANES == 8 && defined(__AVX2__)
RPU_FN bool any(M m) { return !_mm256_testz_si256((__m256i)m, (__m256i)m); }
RPU_FN int number(M m) { return __builtin_popcount(static_cast<unsigned>(_mm256_movemask_ps((__m256)m))); }
RPU_FN F sqrt_(F x) { return (F)_mm256_sqrt_ps((__m256)x); }
RPU_FN F fma_(F a, F b, F c) { return (F)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c); }
RPU_FN void mulhilo(uint32_t m, U a, U& hi, U& lo) {
  const __m256i x = (__m256i)a, k = _mm256_set1_epi32((int)m);
  const __m256i even = _mm256_mul_epu32(x, k), odd = _mm256_mul_epu32(_mm256_srli_epi64(x, 32), k);
  lo = (U)_mm256_mullo_epi32(x, k);
  hi = (U)_mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xAA);
}
RPU_FN U popcount(U x) {
  const __m256i table = _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4));
  const __m256i nibble = _mm256_set1_epi8(15), v = (__m256i)x;
  const __m256i bytes = _mm256_add_epi8(_mm256_shuffle_epi8(table, _mm256_and_si256(v, nibble)),
                                        _mm256_shuffle_epi8(table, _mm256_and_si256(_mm256_srli_epi16(v, 4), nibble)));
  return (U)_mm256_madd_epi16(_mm256_maddubs_epi16(bytes, _mm256_set1_epi8(1)), _mm256_set1_epi16(1));
}
#  elif RPU_LANES == 4 && defined(__SSE4_1__)
RPU_FN bool any(M m) { return !_mm_testz_si128((__m128i)m, (__m128i)m); }
RPU_FN int number(M m) { return __builtin_popcount(static_cast<unsigned>(_mm_movemask_ps((__m128)m))); }
RPU_FN F sqrt_(F x) { return (F)_mm_sqrt_ps((__m128)x); }
RPU_FN F fma_(F a, F b, F c) {  // no FMA below v3: the correctly rounded library function gives the same bits
  F r;
  for (int i = 0; i < kLanes; ++i) r[i] = __builtin_fmaf(a[i], b[i], c[i]);
  return r;
}
RPU_FN void mulhilo(uint32_t m, U a, U& hi, U& lo) {
  const __m128i x = (__m128i)a, k = _mm_set1_epi32((int)m);
  const __m128i even = _mm_mul_epu32(x, k), odd = _mm_mul_epu32(_mm_srli_epi64(x, 32), k);
  lo = (U)_mm_mullo_epi32(x, k);
  hi = (U)_mm_blend_epi16(_mm_srli_epi64(even, 32), odd, 0xCC);
}
RPU_FN U popcount(U x) {
  const __m128i table = _mm_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4);
  const __m128i nibble = _mm_set1_epi8(15), v = (__m128i)x;
  const __m128i bytes = _mm_add_epi8(_mm_shuffle_epi8(table, _mm_and_si128(v, nibble)),
                                     _mm_shuffle_epi8(table, _mm_and_si128(_mm_srli_epi16(v, 4), nibble)));
  return (U)_mm_madd_epi16(_mm_maddubs_epi16(bytes, _mm_set1_epi8(1)), _mm_set1_epi16(1));
}
#  elif RPU_LANES == 4 && defined(__aarch64__)
RPU_FN bool any(M m) { return vmaxvq_u32((uint32x4_t)m) != 0; }
RPU_FN int number(M m) { return -vaddvq_s32((int32x4_t)m); }
RPU_FN F sqrt_(F x) { return (F)vsqrtq_f32((float32x4_t)x); }
RPU_FN F fma_(F a, F b, F c) { return (F)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b); }
RPU_FN void mulhilo(uint32_t m, U a, U& hi, U& lo) {
  const uint32x4_t x = (uint32x4_t)a;
  const uint32x2_t k = vdup_n_u32(m);
  const uint64x2_t low = vmull_u32(vget_low_u32(x), k), high = vmull_u32(vget_high_u32(x), k);
  lo = (U)vuzp1q_u32((uint32x4_t)low, (uint32x4_t)high);
  hi = (U)vuzp2q_u32((uint32x4_t)low, (uint32x4_t)high);
}
RPU_FN U popcount(U x) { return (U)vpaddlq_u16(vpaddlq_u8(vcntq_u8((uint8x16_t)x))); }
#  else
#    error "no lane of this width on this instruction set"
#  endif
#endif

// -- built on the vocabulary above, the same for every lane ---------------------------------------------------------

#if RPU_LANES == 16 && defined(__AVX512F__)  // the instructions are defined like the comparison: a where neither is less
RPU_FN F min_(F a, F b) { return (F)_mm512_min_ps((__m512)b, (__m512)a); }
RPU_FN F max_(F a, F b) { return (F)_mm512_max_ps((__m512)b, (__m512)a); }
#elif RPU_LANES == 8 && defined(__AVX2__)
RPU_FN F min_(F a, F b) { return (F)_mm256_min_ps((__m256)b, (__m256)a); }
RPU_FN F max_(F a, F b) { return (F)_mm256_max_ps((__m256)b, (__m256)a); }
#elif RPU_LANES == 4 && defined(__SSE4_1__)
RPU_FN F min_(F a, F b) { return (F)_mm_min_ps((__m128)b, (__m128)a); }
RPU_FN F max_(F a, F b) { return (F)_mm_max_ps((__m128)b, (__m128)a); }
#else
RPU_FN F min_(F a, F b) { return select(b < a, b, a); }
RPU_FN F max_(F a, F b) { return select(a < b, b, a); }
#endif

#if RPU_LANES == 16 && defined(__AVX512F__)
RPU_FN bool any_positive(F v) { return _mm512_cmp_ps_mask((__m512)v, _mm512_setzero_ps(), _CMP_GT_OQ) != 0; }
#else
RPU_FN bool any_positive(F v) { return any(v > 0.0f); }
#endif
RPU_FN F clip(F v, F lo, F hi) { return max_(lo, min_(hi, v)); }
RPU_FN F abs_(F v) { return bits_to_f(f_to_bits(v) & 0x7fffffffu); }
RPU_FN F copysign_(F magnitude, F sign) {
  return bits_to_f((f_to_bits(magnitude) & 0x7fffffffu) | (f_to_bits(sign) & 0x80000000u));
}

/// Round half to even, valid for every finite value; zeros are positive.
RPU_FN F rint_(F v) {
#if RPU_LANES == 16 && defined(__AVX512F__)
  return (F)_mm512_roundscale_ps((__m512)v, _MM_FROUND_TO_NEAREST_INT) + 0.0f;
#elif RPU_LANES == 8 && defined(__AVX2__)
  return (F)_mm256_round_ps((__m256)v, _MM_FROUND_TO_NEAREST_INT) + 0.0f;
#elif RPU_LANES == 4 && defined(__SSE4_1__)
  return (F)_mm_round_ps((__m128)v, _MM_FROUND_TO_NEAREST_INT) + 0.0f;
#else
  const F big = copysign_(broadcast(8388608.0f), v);  // 2^23: above it a float has no fraction
  return select(abs_(v) < 8388608.0f, (v + big) - big, v);
#endif
}

/// Part of a pack, 0 < n < kLanes; never touches memory beyond. The masked instructions matter: a copy of variable length
/// is a function call.
RPU_FN F load_part(const float* p, int64_t n) {
#if RPU_LANES == 16 && defined(__AVX512F__)
  return (F)_mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1u), p);
#elif RPU_LANES == 8 && defined(__AVX2__)
  return (F)_mm256_maskload_ps(p, (__m256i)(as_i(lane_index()) < static_cast<int32_t>(n)));
#else
  F v{};
  __builtin_memcpy(&v, p, 4 * static_cast<size_t>(n));
  return v;
#endif
}
RPU_FN void store_part(float* p, F v, int64_t n) {
#if RPU_LANES == 16 && defined(__AVX512F__)
  _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1u), (__m512)v);
#elif RPU_LANES == 8 && defined(__AVX2__)
  _mm256_maskstore_ps(p, (__m256i)(as_i(lane_index()) < static_cast<int32_t>(n)), (__m256)v);
#else
  __builtin_memcpy(p, &v, 4 * static_cast<size_t>(n));
#endif
}

/// The first `n` cells at `p`, zero beyond; n may exceed a pack.
RPU_FN F load(const float* p, int64_t n) {
  F v{};
  if (n >= kLanes) __builtin_memcpy(&v, p, sizeof v);
  else if (n > 0) v = load_part(p, n);
  return v;
}
RPU_FN U load(const uint32_t* p) {
  U v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}
RPU_FN void store(float* p, F v, int64_t n) {
  if (n >= kLanes) __builtin_memcpy(p, &v, sizeof v);
  else if (n > 0) store_part(p, v, n);
}
RPU_FN void store(uint32_t* p, U v) { __builtin_memcpy(p, &v, sizeof v); }

RPU_FN float get(F v, int lane) { float a[kLanes]; __builtin_memcpy(a, &v, sizeof v); return a[lane]; }
RPU_FN uint32_t get(U v, int lane) { uint32_t a[kLanes]; __builtin_memcpy(a, &v, sizeof v); return a[lane]; }

/// Sum of all lanes, modulo 2^32.
RPU_FN uint32_t sum(U v) {
#if RPU_LANES == 16 && defined(__AVX512F__)
  return static_cast<uint32_t>(_mm512_reduce_add_epi32((__m512i)v));
#else
  uint32_t total = 0;
  for (int i = 0; i < kLanes; ++i) total += get(v, i);
  return total;
#endif
}

/// table[index] for each cell.
RPU_FN U gather(const uint32_t* table, I index) {
#if RPU_LANES == 1
  return table[index];
#elif RPU_LANES == 16 && defined(__AVX512F__)
  return (U)_mm512_i32gather_epi32((__m512i)index, table, 4);
#elif RPU_LANES == 8 && defined(__AVX2__)
  return (U)_mm256_i32gather_epi32(reinterpret_cast<const int*>(table), (__m256i)index, 4);
#else
  U v;
  for (int i = 0; i < kLanes; ++i) v[i] = table[index[i]];
  return v;
#endif
}
RPU_FN F gather(const float* table, I index) {
#if RPU_LANES == 1
  return table[index];
#elif RPU_LANES == 16 && defined(__AVX512F__)
  return (F)_mm512_i32gather_ps((__m512i)index, table, 4);
#elif RPU_LANES == 8 && defined(__AVX2__)
  return (F)_mm256_i32gather_ps(table, (__m256i)index, 4);
#else
  F v;
  for (int i = 0; i < kLanes; ++i) v[i] = table[index[i]];
  return v;
#endif
}

/// The same for a table of `size` elements; one that fits into a register is looked up there.
RPU_FN F lookup(const float* table, int32_t size, I index) {
#if RPU_LANES == 16 && defined(__AVX512F__)
  if (size <= 16) return (F)_mm512_permutexvar_ps((__m512i)index, (__m512)load(table, size));
#elif RPU_LANES == 8 && defined(__AVX2__)
  if (size <= 8) return (F)_mm256_permutevar8x32_ps((__m256)load(table, size), (__m256i)index);
#endif
  static_cast<void>(size);
  return gather(table, index);
}

/// The lanes of `m` one after the other at p; as many words as a pack has may be written.
RPU_FN void store_chosen(uint32_t* p, U v, M m) {
#if RPU_LANES == 16 && defined(__AVX512F__)
  store(p, (U)_mm512_maskz_compress_epi32(_mm512_test_epi32_mask((__m512i)m, (__m512i)m), (__m512i)v));
#else
  const U chosen = as_u(select(m, I{} + 1, I{}));
  for (int i = 0; i < kLanes; ++i) {
    *p = get(v, i);
    p += get(chosen, i);
  }
#endif
}

/// All ones in the lanes below `n`.
RPU_FN M first_lanes(int64_t n) {
  return as_i(lane_index()) < static_cast<int32_t>(n < kLanes ? (n < 0 ? 0 : n) : kLanes);
}

RPU_END
