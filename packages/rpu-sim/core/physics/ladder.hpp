// A column of the array as a ladder of resistive segments that feed an ADC at one end. In double.
//
// The inputs of segment s are reduced to one source of conductance G_s = sum of both devices of all its weights and
// voltage V_s = 0.4 V + 0.2 V (sum over active inputs of sign(x_j) kappa w_ij) / G_s, because active inputs are read at
// 0.6 or 0.2 V and idle ones at 0.4 V. Starting at the far end, with R_w the resistance of the wire of a segment,
//
//   R = 1 / G_0,  V = V_0;    then for s = 1, 2, ...:   r = R + R_w,  R = 1 / (1 / r + G_s),  V = R (V / r + V_s G_s)
//   R += R_w / 2,   current = (V - v_read) / R
//
// G_s does not depend on which inputs are active, so the ladder is linear: the current is
//
//   sum over active inputs of sign(x_j) 0.2 V kappa w_ij a_is + (0.4 V - v_read) / R,      a_is = e_s / R
//
// with e_s = R just after segment s was added, times R / r of every later one. Without resistance of the wire a = 1.
#pragma once
#include <cstdint>

#include "../host_device.hpp"

namespace rpu {

constexpr double kLeastConductance = 1e-12;  // uS, so that an empty segment has a finite resistance

/// Replaces the conductances G_s (uS) of one output by its factors a_s; returns R (MOhm).
RPU_BOTH double ladder_factors(double* segment, int64_t n, double wire) {
  double r = 1.0 / (segment[0] + kLeastConductance);
  segment[0] = r;
  for (int64_t s = 1; s < n; ++s) {
    const double before = r + wire, damping = 1.0 / (1.0 + before * (segment[s] + kLeastConductance));
    r = before * damping;
    for (int64_t k = 0; k < s; ++k) segment[k] *= damping;
    segment[s] = r;
  }
  r += 0.5 * wire;
  for (int64_t s = 0; s < n; ++s) segment[s] /= r;
  return r;
}

}  // namespace rpu
