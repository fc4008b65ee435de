// Overlapping windows of an array, as the patches of a convolution: strided axes, of which the leading ones count samples
// and the others are the elements of a sample.
#pragma once
#include <cstdint>
#include <vector>

#include "../views.hpp"

namespace rpu {

class Windows {
 public:
  /// Strides in elements.
  Windows(const float* data, int n_axes, int n_leading, const int64_t* shape, const int64_t* strides);

  int64_t samples() const { return samples_; }
  int64_t elements() const { return static_cast<int64_t>(run_offset_.size()) * run_; }

  /// Copies samples to rows of `elements()` floats that lie `stride` floats apart, or as close as they can.
  void copy(Range samples, float* rows, int64_t stride) const;
  void copy(Range samples, float* rows) const { copy(samples, rows, elements()); }

  /// Adds rows of `elements()` floats to the samples, in their order, in an array with the axes of this one.
  void add(Range samples, const float* rows, float* data) const;

 private:
  template <class Visit> void visit(Range samples, Visit&& visit) const;

  const float* data_;
  std::vector<int64_t> shape_, stride_;  // of the leading axes
  std::vector<int64_t> run_offset_;      // of each run of neighbours from the first element of its sample
  int64_t run_ = 1, samples_ = 1;
  int64_t end_ = 0;                      // behind the last element of all, 0 where strides are negative
};

/// Copies all windows to rows, in parallel.
void copy_windows(const Windows& windows, float* rows);

/// Adds rows to `data`, which holds windows of these axes; in parallel over `n_apart` equal parts of the samples that do
/// not overlap.
void add_windows(const Windows& windows, const float* rows, float* data, int64_t n_apart);

}  // namespace rpu
