// The limit of many small pulses: n expected pulses carry the weight along dw/dn = mean step(w), without noise.
//
// A device offers
//   flow(w, up, cell, n)       the solution in closed form, within the bounds; or nothing, then it is integrated
//   mean_step(w, up, cell)     the right side, where it is not the pulse without noise
#pragma once
#include <type_traits>

#include "cell.hpp"

RPU_BEGIN

template <class Device, class = void> struct HasFlow : std::false_type {};
template <class Device> struct HasFlow<Device, std::void_t<decltype(&Device::flow)>> : std::true_type {};
template <class Device, class = void> struct HasMeanStep : std::false_type {};
template <class Device> struct HasMeanStep<Device, std::void_t<decltype(&Device::mean_step)>> : std::true_type {};

template <class Device> RPU_FN F mean_step(const Device& device, F w, M up, const typename Device::Cell& c) {
  const F inside = bounded(w, c);
  if constexpr (HasMeanStep<Device>::value) return device.mean_step(inside, up, c);
  else return device.pulse(inside, up, c, F{}) - inside;
}

/// Flow of an affine step, at_zero + slope w.
RPU_FN F affine_flow(F w, F at_zero, F slope, F n) {
  return w + ((at_zero + slope * w) * n) * expm1_ratio(slope * n);
}

/// Bogacki and Shampine's pair of orders 3 and 2 (doi:10.1016/0893-9659(89)90079-7). A substep is halved until the
/// difference of the two is below the rounding of the weight and the way; each cell has substeps of its own.
constexpr float kFlowTolerance = 1.1920929e-7f;  // 2^-23
constexpr int kMostSubsteps = 256;
constexpr float kShortestSubstep = 1.0f / 128.0f;  // of n

template <class Device> RPU_FN F integrate_flow(const Device& device, F w, M up, const typename Device::Cell& c, F n) {
  F left = n, h = n, slope1 = mean_step(device, w, up, c);
  for (int i = 0; i < kMostSubsteps && any(left > 0.0f); ++i) {
    h = min_(h, left);
    const F slope2 = mean_step(device, w + (0.5f * h) * slope1, up, c);
    const F slope3 = mean_step(device, w + (0.75f * h) * slope2, up, c);
    const F third = w + h * ((0.22222222f * slope1 + 0.33333333f * slope2) + 0.44444444f * slope3);
    const F slope4 = mean_step(device, third, up, c);
    const F error = abs_(h * ((0.08333333f * slope2 - 0.06944444f * slope1) + (0.11111111f * slope3 - 0.125f * slope4)));
    const F allowed = kFlowTolerance * (abs_(w) + abs_(h * slope1));
    const M accept = (left > 0.0f) & ((error <= allowed) | (h <= kShortestSubstep * n));
    w = select(accept, bounded(third, c), w);
    slope1 = select(accept, slope4, slope1);
    left = select(accept, left - h, left);
    h = select(accept, select(error * 16.0f <= allowed, h + h, h), 0.5f * h);
  }
  return w;
}

/// The weight after `n` expected pulses, n >= 0.
template <class Device> RPU_FN F flow(const Device& device, F w, M up, const typename Device::Cell& c, F n) {
  if constexpr (HasFlow<Device>::value) return device.flow(w, up, c, n);
  else return integrate_flow(device, w, up, c, n);
}

RPU_END
