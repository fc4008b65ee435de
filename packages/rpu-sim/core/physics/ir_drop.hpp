// IR drop of one column, by its quasi-static approximation for a constant current density along the wire.
//
//   a_i = n / g_ratio  sum_j |w_ij| |x_j|
//   c_i = a_i (a_i (0.05 a_i - 0.2) + 0.5)
//   y_i <- y_i - ir_drop c_i sum_j w_ij x_j (1 - (1 - j / n)^2)        j = 0 .. n - 1
//
// n inputs; input 0 is nearest to the ADC and sees no drop; g_ratio is the conductance of the wire between two
// crosspoints over that of a device at weight 1.
#pragma once
#include "../kernels_mvm.hpp"
#include "../lane.hpp"

RPU_BEGIN

/// `load` is n sum |w| |x| / g_ratio, `placed` the sum that is weighted with the distance.
RPU_FN F ir_dropped(F y, F load, F placed, const ArraySpec& array) {
  const F c = load * (load * (0.05f * load - 0.2f) + 0.5f);
  return y - array.ir_drop * (c * placed);
}

RPU_END
