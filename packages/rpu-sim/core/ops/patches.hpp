// What the samples of a layer are: the rows of a matrix, or what the positions of a kernel see in padded images.
#pragma once
#include <cstdint>
#include <vector>

#include "../kernels_layer.hpp"
#include "windows.hpp"

namespace rpu {

/// One number for each spatial dimension; none of them: the samples are the rows of a matrix.
struct Kernel {
  std::vector<int64_t> size, stride, dilation;
};

class Patches {
 public:
  /// Of inputs [images, channels, *size], which the kernel fits into.
  Patches(std::vector<int64_t> shape, const Kernel& kernel);

  bool are_rows() const { return kernel_.size.empty(); }
  int64_t images() const { return shape_[0]; }
  int64_t channels() const { return shape_[1]; }
  int64_t pixels() const { return pixels_; }        // of an image
  int64_t positions() const { return positions_; }  // of the kernel in an image
  int64_t taps() const { return static_cast<int64_t>(tap_offset_.size()); }
  int64_t samples() const { return images() * positions_; }
  int64_t elements() const { return channels() * taps(); }  // of a sample
  int64_t numbers() const { return images() * channels() * pixels_; }

  /// The samples of contiguous inputs.
  Windows windows(const float* inputs) const;

  /// How inputs lie, with the channels of a pixel side by side or the pixels of a channel.
  Lines lines(bool channels_last) const;

  /// Positions in lines along the last axis.
  int64_t line_width() const { return positions_ / static_cast<int64_t>(line_offset_.size()); }
  int64_t position_lines() const { return static_cast<int64_t>(line_offset_.size()); }
  /// Adds C[channels * taps][c_stride] of some lines of positions to images [channels, pixels].
  void add(const float* c, int64_t c_stride, Range lines, int64_t channels, float* images) const;

  /// The part of the elements of all samples with a magnitude of at least `bound`.
  double share_beyond(const float* x, bool channels_last, float bound) const;

 private:
  std::vector<int64_t> shape_, size_strides_, positions_of_axis_;
  Kernel kernel_;
  int64_t pixels_ = 1, positions_ = 1;
  std::vector<int64_t> line_offset_, tap_offset_;
};

}  // namespace rpu
