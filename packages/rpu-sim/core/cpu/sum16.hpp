// Sums over columns in an order that no lane width changes: column j goes to partial sum j mod 16.
#pragma once
#include "../lane.hpp"

RPU_BEGIN

/// Sum of the 16 partial sums, in order.
RPU_FN float sum16(const F parts[16 / kLanes]) {
  float sum = 0.0f;
  for (int i = 0; i < 16; ++i) sum += get(parts[i / kLanes], i % kLanes);
  return sum;
}

RPU_END
