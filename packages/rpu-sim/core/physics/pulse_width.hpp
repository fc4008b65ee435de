// Inputs as pulses of different length, read at equally spaced points in time.
//
//   count = number of the points n = 0, 1, ..., points - 1 at which the pulse is still on,
//           n < u points_per_code,    u = |x| / D
//   x <- sign(x) count / points_per_code D                       sum over time
//   count + 1/2 if on at the first point - 1/2 if on at the last  trapezoid rule, first point doubled
//
// D is the step of the DAC. With as many points as codes (and 0) the sum gives back every code exactly; the trapezoid
// rule adds half a step. A pulse that ends within a thousandth of a point does not reach it, so that rounding of u has
// no effect.
#pragma once
#include "../kernels_mvm.hpp"
#include "../lane.hpp"

RPU_BEGIN

RPU_FN F ceil_(F v) {
  const F r = rint_(v);
  return select(r < v, r + 1.0f, r);
}

RPU_FN F sampled_pulse(F x, const PulseGrid& grid) {
  const F end = abs_(x) * grid.points_per_unit - 1e-3f;
  const F count = clip(ceil_(end), F{}, broadcast(grid.points));
  const F first = select(count > 0.0f, broadcast(grid.edge), F{});
  const F last = select(count >= grid.points, broadcast(grid.edge), F{});
  return copysign_((count + first - last) * grid.per_point, x);
}

RPU_END
