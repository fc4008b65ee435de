#include "patches.hpp"

#include <cmath>
#include <utility>

#include "../cpu/dispatch.hpp"
#include "../errors.hpp"

namespace rpu {
namespace {

/// Offsets of a grid of points, the last axis fastest.
std::vector<int64_t> grid(const std::vector<int64_t>& number, const std::vector<int64_t>& step, size_t axes) {
  std::vector<int64_t> offsets{0};
  for (size_t axis = 0; axis < axes; ++axis) {
    std::vector<int64_t> finer;
    for (int64_t first : offsets)
      for (int64_t i = 0; i < number[axis]; ++i) finer.push_back(first + i * step[axis]);
    offsets = std::move(finer);
  }
  return offsets;
}

std::vector<int64_t> products(const std::vector<int64_t>& a, const std::vector<int64_t>& b) {
  std::vector<int64_t> result;
  for (size_t i = 0; i < a.size(); ++i) result.push_back(a[i] * b[i]);
  return result;
}

}  // namespace

Patches::Patches(std::vector<int64_t> shape, const Kernel& kernel) : shape_(std::move(shape)), kernel_(kernel) {
  const size_t axes = kernel.size.size();
  if (shape_.size() != axes + 2 || kernel.stride.size() != axes || kernel.dilation.size() != axes)
    throw Error(ErrorKind::Shape, "the inputs must have one axis for samples, one for channels and those of the kernel");
  size_strides_.resize(axes);
  for (size_t axis = axes; axis-- > 0;) {
    size_strides_[axis] = pixels_;
    pixels_ *= shape_[axis + 2];
  }
  for (size_t axis = 0; axis < axes; ++axis) {
    const int64_t extent = kernel.dilation[axis] * (kernel.size[axis] - 1) + 1;
    if (extent > shape_[axis + 2]) throw Error(ErrorKind::Shape, "the kernel is larger than the padded images");
    positions_of_axis_.push_back((shape_[axis + 2] - extent) / kernel.stride[axis] + 1);
    positions_ *= positions_of_axis_.back();
  }
  tap_offset_ = grid(kernel.size, products(size_strides_, kernel.dilation), axes);
  line_offset_ = grid(positions_of_axis_, products(size_strides_, kernel.stride), axes == 0 ? 0 : axes - 1);
}

Windows Patches::windows(const float* inputs) const {
  const std::vector<int64_t> steps = products(size_strides_, kernel_.stride), inside = products(size_strides_, kernel_.dilation);
  std::vector<int64_t> shape{shape_[0]}, strides{shape_[1] * pixels_};
  shape.insert(shape.end(), positions_of_axis_.begin(), positions_of_axis_.end());
  strides.insert(strides.end(), steps.begin(), steps.end());
  const auto leading = static_cast<int>(shape.size());
  shape.push_back(shape_[1]), strides.push_back(pixels_);
  shape.insert(shape.end(), kernel_.size.begin(), kernel_.size.end());
  strides.insert(strides.end(), inside.begin(), inside.end());
  return Windows(inputs, static_cast<int>(shape.size()), leading, shape.data(), strides.data());
}

Lines Patches::lines(bool channels_last) const {
  if (are_rows()) return {shape_[0], shape_[1], 1};
  return {shape_[0] * shape_[1], pixels_, channels_last ? shape_[1] : 1};
}

void Patches::add(const float* c, int64_t c_stride, Range lines, int64_t channels, float* images) const {
  // One tap of the last axis after the other, because its pixels overlap with those of the next.
  const int64_t last = kernel_.size.back(), others = taps() / last;
  std::vector<int64_t> offsets(static_cast<size_t>(others));
  for (int64_t tap = 0; tap < last; ++tap) {
    for (int64_t i = 0; i < others; ++i) offsets[static_cast<size_t>(i)] = tap_offset_[static_cast<size_t>(i * last + tap)];
    kernels().layer.add_patches({c + tap * c_stride, last * c_stride, line_offset_.data() + lines.begin,
                                 lines.end - lines.begin, line_width(), kernel_.stride.back(), offsets.data(), others,
                                 channels, pixels_, images});
  }
}

double Patches::share_beyond(const float* x, bool channels_last, float bound) const {
  std::vector<double> uses{1.0};  // of each pixel by the taps of all positions
  for (size_t axis = 0; axis < positions_of_axis_.size(); ++axis) {
    std::vector<double> of_axis(static_cast<size_t>(shape_[axis + 2])), finer;
    for (int64_t position = 0; position < positions_of_axis_[axis]; ++position)
      for (int64_t tap = 0; tap < kernel_.size[axis]; ++tap)
        of_axis[static_cast<size_t>(position * kernel_.stride[axis] + tap * kernel_.dilation[axis])] += 1.0;
    for (double before : uses)
      for (double n : of_axis) finer.push_back(before * n);
    uses = std::move(finer);
  }
  const int64_t channels = shape_[1], outer = channels_last ? 1 : channels, inner = channels_last ? channels : 1;
  double found = 0.0;
  for (int64_t line = 0; line < shape_[0] * outer; ++line)
    for (int64_t pixel = 0; pixel < pixels_; ++pixel) {
      int64_t beyond = 0;
      for (int64_t i = 0; i < inner; ++i) beyond += std::fabs(*x++) >= bound;
      found += static_cast<double>(beyond) * uses[static_cast<size_t>(pixel)];
    }
  return found / static_cast<double>(samples() * elements());
}

}  // namespace rpu
