// A part of a DAC code, for products that send the bits of an input in several passes.
//
//   k = rint(v / D),   part = (|k| >> shift) mod 2^width  with the sign of v,   v <- D part
//
// D is the step of the DAC. The result of the pass counts 2^shift times.
//
//   SPLIT_MODE  the lowest split_mode_bit_shift bits, then all others
//   BIT_WISE    one bit per pass, lowest first
#pragma once
#include "../kernels_mvm.hpp"
#include "../lane.hpp"

RPU_BEGIN

RPU_FN F part_of_code(F v, const CodeBits& bits, const Converter& dac) {
  const U code = as_u(to_i(rint_(abs_(v) * dac.per_unit)));
  return copysign_(to_f(as_i((code >> bits.shift) & bits.mask)) * dac.step, v);
}

RPU_END
