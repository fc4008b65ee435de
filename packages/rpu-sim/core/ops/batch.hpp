// Samples of an update: rows of a matrix, or windows of larger arrays as in a convolution. Overlapping windows are read
// where they are, and only the samples at work are copied.
#pragma once
#include <vector>

#include "../views.hpp"
#include "windows.hpp"

namespace rpu {

class Batch {
 public:
  Batch() = default;
  Batch(const ConstMatrix& matrix) : rows(matrix.rows), cols(matrix.cols), matrix_(matrix) {}
  Batch(const Windows& windows) : rows(windows.samples()), cols(windows.elements()), windows_(&windows) {}

  int64_t rows = 0, cols = 0;

  /// Some samples as a matrix; windows are copied into `buffer`.
  ConstMatrix part(Range samples, std::vector<float>& buffer) const;

 private:
  ConstMatrix matrix_{};
  const Windows* windows_ = nullptr;
};

}  // namespace rpu
