// Elementary functions from + - * / sqrt and bit operations only, hence the same bits on every instruction set, on a
// GPU and in the NumPy oracle. The coefficients are those of the Cephes library (S. L. Moshier);
// dev/fit_polynomials.py fits them anew, compares, and measures the errors.
#pragma once
#include "lane.hpp"

RPU_BEGIN

/// Natural logarithm of a positive normal number; error below 1 ulp of the result.
RPU_FN F log_(F x) {
  const U bits = f_to_bits(x);
  const I exponent = as_i(bits - 0x3f3504f3u) >> 23;  // so that the mantissa lies in [sqrt(1/2), sqrt(2))
  const F m = bits_to_f(bits - (as_u(exponent) << 23)) - 1.0f;
  const F z = m * m;
  F y = m * 7.0376836292e-2f - 1.1514610310e-1f;
  y = y * m + 1.1676998740e-1f;
  y = y * m - 1.2420140846e-1f;
  y = y * m + 1.4249322787e-1f;
  y = y * m - 1.6668057665e-1f;
  y = y * m + 2.0000714765e-1f;
  y = y * m - 2.4999993993e-1f;
  y = (y * m + 3.3333331174e-1f) * m * z;
  const F e = to_f(exponent);
  y = y + e * -2.12194440e-4f - 0.5f * z;  // ln 2 in two parts: 0.693359375 is exact in 10 bits
  return (m + y) + e * 0.693359375f;
}

/// Exponential; the argument is limited to [-87, 88], where the result is a normal number.
RPU_FN F exp_(F x) {
  x = clip(x, broadcast(-87.0f), broadcast(88.0f));
  const I n = to_i(x * 1.44269504f + 128.5f) - 128;  // round to nearest by truncating a positive number
  const F e = to_f(n);
  const F r = (x - e * 0.693359375f) - e * -2.12194440e-4f;
  F y = r * 1.9875691500e-4f + 1.3981999507e-3f;
  y = y * r + 8.3334519073e-3f;
  y = y * r + 4.1665795894e-2f;
  y = y * r + 1.6666665459e-1f;
  y = y * r + 5.0000001201e-1f;
  y = y * (r * r) + r + 1.0f;
  return bits_to_f(f_to_bits(y) + (as_u(n) << 23));
}

/// 2^x; the argument is limited to [-126, 127]. Coefficients: rounded one by one, the rest fitted anew (docs/design/numerics.md).
RPU_FN F exp2_(F x) {
  x = clip(x, broadcast(-126.0f), broadcast(127.0f));
  const F shifted = x + 12582912.0f;  // 1.5 * 2^23: its last bits are the integer nearest to x
  const F r = x - (shifted - 12582912.0f);
  F y = r * 1.532647148e-4f + 1.339080627e-3f;
  y = y * r + 9.618505836e-3f;
  y = y * r + 5.550359935e-2f;
  y = y * r + 2.402264774e-1f;
  y = y * r + 6.931471825e-1f;
  y = y * r + 1.0f;
  return bits_to_f(f_to_bits(y) + (f_to_bits(shifted) << 23));
}

/// (e^x - 1) / x, without cancellation: near 0 as a quotient of two functions of the rounded exponential (W. Kahan).
RPU_FN F expm1_ratio(F x) {
  const F e = exp_(x);
  const F by = select(abs_(x) < 1.0f, log_(e), x);
  return select(e == 1.0f, broadcast(1.0f), (e - 1.0f) / by);
}

/// log(1 + x) / x, without cancellation; arguments below -1 count as -1.
RPU_FN F log1p_ratio(F x) {
  const F y = max_(1.0f + x, broadcast(1.17549435e-38f));
  return select(y == 1.0f, broadcast(1.0f), log_(y) / (y - 1.0f));
}

/// Hyperbolic tangent: an odd polynomial below 0.625, then 1 - 2 / (exp(2 |x|) + 1).
RPU_FN F tanh_(F x) {
  const F a = abs_(x), z = a * a;
  F y = z * -5.70498872745e-3f + 2.06390887954e-2f;
  y = y * z - 5.37397155531e-2f;
  y = y * z + 1.33314422036e-1f;
  y = y * z - 3.33332819422e-1f;
  const F small = y * z * a + a, large = 1.0f - 2.0f / (exp_(a + a) + 1.0f);
  return copysign_(select(a < 0.625f, small, large), x);
}

/// sin and cos of 2 pi t, where the upper 24 bits of a word are the binary digits of t in [0, 1).
RPU_FN void sincos_turn(U word, F& sin_out, F& cos_out) {
  const I from_quarter = as_i(word << 2) >> 10;  // t less the nearest multiple of a quarter, in units of 2^-24
  const F x = to_f(from_quarter) * (6.2831853f * 5.9604644775390625e-8f);
  const U quarter = word + 0x20000000u;          // that multiple: the upper two bits
  const F z = x * x;
  const F s = ((z * -1.9515295891e-4f + 8.3321608736e-3f) * z - 1.6666654611e-1f) * z * x + x;
  const F c = ((z * 2.443315711809948e-5f - 1.388731625493765e-3f) * z + 4.166664568298827e-2f) * z * z - 0.5f * z + 1.0f;
  const M odd = (quarter & 0x40000000u) != 0u;
  sin_out = bits_to_f(f_to_bits(select(odd, c, s)) ^ (quarter & 0x80000000u));
  cos_out = bits_to_f(f_to_bits(select(odd, s, c)) ^ ((quarter + 0x40000000u) & 0x80000000u));
}

RPU_END
