// ADC that counts charge in whole units, rounded towards zero:  q(y) = D trunc(y / D).
#pragma once
#include "../lane.hpp"

RPU_BEGIN

RPU_FN F counted(F y, float step) {
  const F units = y / step;
  const F whole = rint_(abs_(units));
  return copysign_(select(whole > abs_(units), whole - 1.0f, whole) * step, y);
}

RPU_END
