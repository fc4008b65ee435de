// Read noise of phase-change devices that depends on how long they are read: conductances g = kappa |w| vary by
//
//   sigma(g) = scale (slope(u) g + offset(u)),     u = log10 of the mean code of the inputs that the pass sends
//
// with polynomials of u, slope without unit and offset in uS. A weight of 0 has no noise. A fresh sample of every
// weight for every vector and pass shows as Gaussian noise of the output with the variance
//
//   (scale / kappa)^2 (slope^2 sum_j M2 x_j^2 + slope offset sum_j M1 x_j^2 + offset^2 sum_j M0 x_j^2)
//   M2 = (a g)^2,  M1 = 2 a^2 g,  M0 = a^2, or 0 where w = 0
//
// a damps an input by the ladder (ladder.hpp), whose own change with the noise is left out: it is smaller by 1 - a.
#pragma once
#include "../fmath.hpp"
#include "../kernels_mvm.hpp"

RPU_BEGIN

RPU_FN F quartic(F u, const float c[5]) {
  F y = broadcast(c[0]);
  for (int i = 1; i < 5; ++i) y = y * u + c[i];
  return y;
}

/// Standard deviation of the output; `scale` is that of the noise over kappa, `sums` those of M2, M1 and M0.
RPU_FN F pulse_read_noise(float mean_code, const F sums[3], float scale) {
  constexpr float kSlope[5] = {2.1926e-4f, -1.87352e-3f, 6.55714e-3f, -1.46159e-2f, 2.578764e-2f};
  constexpr float kOffset[5] = {1.11906167e-3f, -9.08576764e-3f, 3.07015063e-2f, -6.77079241e-2f, 1.17763144e-1f};
  const F u = log_(max_(broadcast(mean_code), broadcast(1e-30f))) * 0.43429448f;
  const F slope = quartic(u, kSlope), offset = quartic(u, kOffset);
  const F variance = slope * slope * sums[0] + slope * offset * sums[1] + offset * offset * sums[2];
  return scale * sqrt_(max_(variance, F{}));
}

RPU_END
