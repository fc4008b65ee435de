// Linear interpolation between equidistant nodes.
#pragma once
#include "cell.hpp"

RPU_BEGIN

/// Where a value lies between nodes: v_index (1 - fraction) + v_{index + 1} fraction.
struct NodePosition {
  I index;
  F fraction;
};

/// Position of t, in units of the distance between `nodes` nodes. A single node has index 0.
RPU_FN NodePosition node_position(F t, int32_t nodes) {
  const F inside = clip(t, broadcast(0.0f), broadcast(static_cast<float>(nodes - 1)));
  const int32_t last = nodes > 1 ? nodes - 2 : 0;
  const I i = to_i(inside);
  const I index = select(i > last, I{} + last, i);
  return {index, inside - to_f(index)};
}

RPU_FN F interpolated(const float* nodes, int32_t size, const NodePosition& at) {
  return (1.0f - at.fraction) * lookup(nodes, size, at.index) + at.fraction * lookup(nodes, size, at.index + 1);
}

RPU_END
