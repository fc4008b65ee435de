// Windows of an array, such as the patches of a convolution: where each of their elements lies. The loops around it are in
// cuda/; the CPU copies runs of neighbours (ops/windows.hpp).
#pragma once
#include <cstdint>

#include "../host_device.hpp"

namespace rpu {

constexpr int kMostAxes = 12;

/// Windows as a strided view of an array. In row-major order their elements are those of rows that lie side by side.
struct WindowAxes {
  int32_t n;
  int64_t shape[kMostAxes], stride[kMostAxes];  // strides in elements, not negative

  int64_t elements() const {
    int64_t size = 1;
    for (int axis = 0; axis < n; ++axis) size *= shape[axis];
    return size;
  }
  /// From the first element in the array to behind the last one.
  int64_t extent() const {
    int64_t size = elements() > 0 ? 1 : 0;
    for (int axis = 0; size > 0 && axis < n; ++axis) size += (shape[axis] - 1) * stride[axis];
    return size;
  }
};

/// Where element number i of the rows lies in the array.
RPU_BOTH int64_t place_of_element(const WindowAxes& axes, int64_t i) {
  int64_t place = 0;
  for (int axis = axes.n - 1; axis >= 0; --axis) {
    place += i % axes.shape[axis] * axes.stride[axis];
    i /= axes.shape[axis];
  }
  return place;
}

}  // namespace rpu
