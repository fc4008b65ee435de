// x^y from the elementary functions.
#pragma once
#include "../fmath.hpp"

RPU_BEGIN

/// x^y for 0 <= x <= 1. Below the smallest normal number x counts as 0; a negative exponent then gives a large number.
RPU_FN F pow_(F x, F y) {
  const F smallest = broadcast(1.17549435e-38f);
  const F p = exp_(y * log_(max_(x, smallest)));
  return select((x < smallest) & (y > 0.0f), broadcast(0.0f), p);
}

RPU_END
