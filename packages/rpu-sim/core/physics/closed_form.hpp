// The pulses of a batch at once: n up and m down pulses of a cell, in the order that their pairs have on average.
//
// u(w), d(w) are the mean changes of an up and a down pulse, a_u, a_d their standard deviations (pulse_law.hpp), ' is the
// derivative by w. `order` is the share of the n m pairs in which the up pulse comes first. Mean and variance follow from
//
//   device.after(w, numbers, up, down)   with the laws at w: powers of affine steps (linear_step.hpp)
//   or, without it, from the flow dw/dt = f(w), dV/dt = r(w) V + g(w) of t from 0 to 1,
//
//     f = n u (1 - u'/2) + m d (1 - d'/2) + t n m (u d' - d u')      t = order - 1/2
//     r = 2 f' + n a_u'^2 + m a_d'^2
//     g = n (a_u (1 - u' + t m d') - t m d a_u')^2 + m (a_d (1 - d' - t n u') + t n u a_d')^2
//
//   which differs from single pulses in the third order of the steps: halves of u' and d' turn a flow into steps, the
//   terms with t turn the mean of both orders into the actual one, for f by the commutator of both steps (W. Magnus,
//   doi:10.1002/cpa.3160070404), for g by where up and down pulses are on average, and by what follows them.
//   One step of a method of fourth order with two stages goes along it, which takes f' too (R. P. K. Chan and
//   A. Y. J. Tsai, doi:10.1007/s11075-009-9349-1), with f' = n u' (1 - u'/2) + m d' (1 - d'/2).
//
// A path that could come near a bound, in whatever order its pulses are, is left to single pulses.
#pragma once
#include "pulse_law.hpp"

RPU_BEGIN

/// The pulses of a batch at a cell.
struct PulseNumbers {
  I n_up, n_down;
  F up, down;  // the same
  F order;     // share of the pairs of an up and a down pulse in which the up pulse comes first
};

struct WeightLaw {
  F mean, variance;
};

template <class Device, class = void> struct HasAfter : std::false_type {};
template <class Device> struct HasAfter<Device, std::void_t<decltype(&Device::after)>> : std::true_type {};

/// Of g = 1 + bend: the sum of its powers up to g^(n-1), and the last of them, without cancellation for small bends.
struct Powers {
  F sum, last;
};

/// By repeated squaring: from the sum over 2^b powers to that over twice as many.
RPU_FN void powers(F bend_up, I n_up, F bend_down, I n_down, Powers& up, Powers& down) {
  I left_up = select(n_up > 1, n_up - 1, I{}), left_down = select(n_down > 1, n_down - 1, I{});
  const F zero{}, one = broadcast(1.0f);
  F sum_up = select((left_up & 1) != 0, one, zero), sum_down = select((left_down & 1) != 0, one, zero);
  F block_up = 2.0f + bend_up, block_down = 2.0f + bend_down;
  while (any((left_up | left_down) > 1)) {
    left_up = left_up >> 1, left_down = left_down >> 1;
    sum_up = select((left_up & 1) != 0, sum_up + block_up * (1.0f + bend_up * sum_up), sum_up);
    sum_down = select((left_down & 1) != 0, sum_down + block_down * (1.0f + bend_down * sum_down), sum_down);
    block_up = block_up * (2.0f + bend_up * block_up);
    block_down = block_down * (2.0f + bend_down * block_down);
  }
  up.last = 1.0f + bend_up * sum_up;
  down.last = 1.0f + bend_down * sum_down;
  up.sum = select(n_up > 0, sum_up + up.last, zero);
  down.sum = select(n_down > 0, sum_down + down.last, zero);
}

/// Right side of the flow: f and its derivative, r, and g.
struct FlowOfPulses {
  F mean, bend, growth, noise;
};

RPU_FN FlowOfPulses flow_of_pulses(const PulseLaw& up, const PulseLaw& down, const PulseNumbers& n) {
  const F rise = n.up * up.change, fall = n.down * down.change;
  const F bend_up = n.up * up.bend, bend_down = n.down * down.bend;
  const F part_up = 1.0f - 0.5f * up.bend, part_down = 1.0f - 0.5f * down.bend;
  const F tilt = n.order - 0.5f, commutator = rise * bend_down - fall * bend_up;
  const F mean = (rise * part_up + fall * part_down) + tilt * commutator;
  const F bend = bend_up * part_up + bend_down * part_down;
  const F growth = n.up * (up.spread_bend * up.spread_bend) + n.down * (down.spread_bend * down.spread_bend);
  const F a_up = up.spread * ((1.0f - up.bend) + tilt * bend_down) - (tilt * fall) * up.spread_bend;
  const F a_down = down.spread * ((1.0f - down.bend) - tilt * bend_up) + (tilt * rise) * down.spread_bend;
  return {mean, bend, (bend + bend) + growth, n.up * (a_up * a_up) + n.down * (a_down * a_down)};
}

template <class Device>
RPU_FN WeightLaw along_flow(const Device& device, F w, const typename Device::Cell& c, const PulseNumbers& n,
                            const PulseLaw& up, const PulseLaw& down) {
  const FlowOfPulses start = flow_of_pulses(up, down, n);
  const F curve = start.mean * start.bend;
  const F halfway = w + (0.5f * start.mean + 0.125f * curve);
  const FlowOfPulses middle =
      flow_of_pulses(device.pulse_law(halfway, I{} == 0, c), device.pulse_law(halfway, I{} != 0, c), n);
  const F mean = w + (start.mean + (0.16666667f * curve + 0.33333333f * (middle.mean * middle.bend)));
  const F r = middle.growth;
  const F grown = (1.0f + r * (0.5f + r * (0.16666667f + r * 0.041666667f))) + (r - start.growth) * 0.16666667f;
  return {mean, middle.noise * grown - (middle.noise - start.noise) * (r * 0.16666667f)};
}

/// Six standard deviations: a path that stays this far from the bounds is treated as unbounded (error below 1e-8).
constexpr float kBoundMargin = 6.0f;

/// The largest change of a step by all pulses, relative to itself, that the flow describes well; powers are exact.
constexpr float kMostBendOfFlow = 0.5f, kMostBendOfPowers = 1.0f;

/// Where no path, in whatever order its pulses are, comes near a bound, and no step changes too much on the way.
RPU_FN M far_from_bounds(F w, const Cell& c, const PulseNumbers& n, const PulseLaw& up, const PulseLaw& down,
                         float most_bend) {
  const F way = n.up * abs_(up.change) + n.down * abs_(down.change);
  const F bend = n.up * abs_(up.bend) + n.down * abs_(down.bend), growth = (1.0f + bend) + bend * bend;
  const F a_up = abs_(up.spread) + abs_(up.spread_bend) * way, a_down = abs_(down.spread) + abs_(down.spread_bend) * way;
  const F widest = n.up * (a_up * a_up) + n.down * (a_down * a_down);
  const F gap = min_(c.b_max - w, w - c.b_min) - growth * way;
  const F margin = kBoundMargin * growth;
  return (gap >= 0.0f) & (gap * gap >= (margin * margin) * widest) & (bend <= most_bend);
}

/// Where no kink lies on the way, or one that moves the weight by less than a tenth of a standard deviation: the flow takes
/// the bend halfway for a third of the way.
template <class Device>
RPU_FN M passes_kinks(const Device& device, F w, const typename Device::Cell& c, const PulseNumbers& n, const PulseLaw& up,
                      const PulseLaw& down) {
  const F way = n.up * abs_(up.change) + n.down * abs_(down.change), low = w - way, high = w + way;
  const M rises = I{} == 0, falls = I{} != 0;
  const F kink_up = device.pulse_law(high, rises, c).bend - device.pulse_law(low, rises, c).bend;
  const F kink_down = device.pulse_law(high, falls, c).bend - device.pulse_law(low, falls, c).bend;
  const F off = (0.33333333f * way) * (n.up * abs_(kink_up) + n.down * abs_(kink_down));
  return off * off <= 0.01f * (n.up * (up.spread * up.spread) + n.down * (down.spread * down.spread));
}

/// The weight after all pulses with the standard normal xi, and which cells need their pulses one by one.
template <class Device>
RPU_FN F closed_form(const Device& device, F w, const typename Device::Cell& c, const PulseNumbers& n, F xi, M& single) {
  const PulseLaw up = device.pulse_law(w, I{} == 0, c), down = device.pulse_law(w, I{} != 0, c);
  WeightLaw law;
  M far;
  if constexpr (HasAfter<Device>::value) {
    law = device.after(w, n, up, down);
    far = far_from_bounds(w, c, n, up, down, kMostBendOfPowers);
  } else {
    law = along_flow(device, w, c, n, up, down);
    far = far_from_bounds(w, c, n, up, down, kMostBendOfFlow);
    if constexpr (HasKinks<Device>::value) far &= passes_kinks(device, w, c, n, up, down);
  }
  single = (far & (law.mean >= c.b_min) & (law.mean <= c.b_max)) == M{};
  return law.mean + sqrt_(max_(F{}, law.variance)) * xi;
}

RPU_END
