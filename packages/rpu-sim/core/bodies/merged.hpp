// The pulses of a batch as one draw, where that is exact; the loops around it are in cpu/ and cuda/.
#pragma once
#include <type_traits>

#include "../physics/closed_form.hpp"
#include "coincidences.hpp"

RPU_BEGIN

/// Whether a device knows mean and variance of a pulse also where the law of the weight is not Gaussian.
template <class Device, class = void> struct HasMoments : std::false_type {};
template <class Device> struct HasMoments<Device, std::void_t<decltype(Device::kMoments)>> : std::true_type {};

/// Whether the pulses of a batch are only counted, not taken in order.
template <class Device> RPU_FN bool counts_pulses(params::CycleNoiseType noise) {
  return Device::kStateIndependent || (HasPulseLaw<Device>::value && noise == params::CycleNoiseType::CLOSED_FORM);
}

/// Whether the pulses of a batch are one draw, away from the bounds.
template <class Device> RPU_FN bool merges_pulses(const Device& device, params::CycleNoiseType noise) {
  if (counts_pulses<Device>(noise)) return true;
  if constexpr (Device::kStateIndependent) return true;
  else return device.gaussian() || (HasMoments<Device>::value && noise == params::CycleNoiseType::PER_UPDATE);
}

/// State-independent steps: n up and m down pulses of the whole batch are one Gaussian step, exactly, unless a bound is
/// near: where `beyond`, how far the weight may get beyond one, is positive, the pulses are needed one by one.
template <class Device>
RPU_FN F merged_constant_steps(const Device& device, F w, const Cell& c, F n_up, F n_dn, F xi, F& beyond) {
  const F rise = c.s_up * n_up, fall = c.s_dn * n_dn;
  const F spread = device.sigma * sqrt_(c.s_up * rise + c.s_dn * fall);
  const F margin = kBoundMargin * spread, zero{};
  const F highest = w + (max_(rise, zero) - min_(fall, zero));  // a step may be negative
  const F lowest = w + (min_(rise, zero) - max_(fall, zero));
  beyond = max_((highest + margin) - c.b_max, c.b_min - (lowest - margin));
  return w + ((rise - fall) + spread * xi);
}

/// Steps that depend on the state, by the numbers of pulses and pairs, for devices that counts_pulses(). `near_bound` tells
/// which cells need their pulses one by one.
template <class Device>
RPU_FN F merged_counts(const Device& device, F w, const typename Device::Cell& c, const PulseCount& n, F xi,
                       M& near_bound) {
  const I up = as_i(n.up), down = as_i(n.all - n.up);
  const F n_up = to_f(up), n_dn = to_f(down);
  const F order = to_f(as_i(n.pairs)) / max_(2.0f * (n_up * n_dn), broadcast(1.0f));
  return closed_form(device, w, c, {up, down, n_up, n_dn, order}, xi, near_bound);
}

/// Affine steps with additive noise: the weight stays Gaussian, so mean and variance are propagated in the order of the
/// pulses and one normal is drawn at the end. CycleNoiseType::PER_UPDATE does so wherever there are moments.
struct MergedMoments {
  F mean, variance, high, low, widest;

  RPU_FN explicit MergedMoments(F w) : mean(w), variance{}, high(w), low(w), widest{} {}

  /// One more pulse of the cells that are `active`.
  template <class Device> RPU_FN void pulse(const Device& device, const typename Device::Cell& c, M up, M active) {
    F m = mean, v = variance;
    device.moments(m, v, up, c);
    mean = select(active, m, mean);
    variance = select(active, v, variance);
    high = max_(high, mean);
    low = min_(low, mean);
    widest = max_(widest, variance);
  }

  /// The weight, and which cells were so near a bound that their pulses are needed one by one.
  RPU_FN F moved(const Cell& c, F xi, M& near_bound) const {
    const F margin = kBoundMargin * sqrt_(widest);
    near_bound = ((high + margin) > c.b_max) | ((low - margin) < c.b_min);
    return mean + sqrt_(variance) * xi;
  }
};

RPU_END
