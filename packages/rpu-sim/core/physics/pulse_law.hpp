// What one pulse does on average, as functions of the weight: what the moments of many pulses are made of.
//
// A device offers
//   pulse_law(w, up, cell)     away from the bounds; or nothing, then its pulses are always taken one by one
//   kKinks                     where the law is not smooth
#pragma once
#include <type_traits>

#include "cell.hpp"

RPU_BEGIN

/// Mean and standard deviation of the change by a pulse, and their derivatives by the weight.
struct PulseLaw {
  F change, spread, bend, spread_bend;
};

template <class Device, class = void> struct HasPulseLaw : std::false_type {};
template <class Device> struct HasPulseLaw<Device, std::void_t<decltype(&Device::pulse_law)>> : std::true_type {};

template <class Device, class = void> struct HasKinks : std::false_type {};
template <class Device> struct HasKinks<Device, std::void_t<decltype(Device::kKinks)>> : std::true_type {};

/// Where the noise scales with the step.
RPU_FN PulseLaw proportional(F change, F bend, float sigma) { return {change, change * sigma, bend, bend * sigma}; }

/// Mean and variance of the weight after one more pulse with the law at its mean: exact for an affine law.
RPU_FN void propagate(const PulseLaw& p, F& mean, F& variance) {
  const F gain = 1.0f + p.bend;
  mean = mean + p.change;
  variance = (gain * gain + p.spread_bend * p.spread_bend) * variance + p.spread * p.spread;
}

RPU_END
