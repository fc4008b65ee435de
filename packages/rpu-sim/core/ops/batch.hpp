// Samples of an update: rows of a matrix, or windows of larger arrays as in a convolution. Overlapping windows are read
// where they are, and only the samples at work are copied.
#pragma once
#include <vector>

#include "../views.hpp"

namespace rpu {

/// Strided axes, the leading ones counting samples, the others the elements of a sample. Strides in elements.
class Windows {
 public:
  Windows(const float* data, int n_axes, int n_leading, const int64_t* shape, const int64_t* strides);

  int64_t samples() const { return samples_; }
  int64_t elements() const { return static_cast<int64_t>(offset_.size()); }

  /// Copies samples to rows of `elements()` floats.
  void copy(Range samples, float* rows) const;

 private:
  const float* data_;
  std::vector<int64_t> shape_, stride_;  // of the leading axes
  std::vector<int64_t> offset_;          // of each element from the first of its sample
  int64_t samples_ = 1;
};

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
