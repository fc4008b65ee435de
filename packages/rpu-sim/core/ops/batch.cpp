#include "batch.hpp"

#include <cstddef>
#include <utility>

#include "../cpu/thread_pool.hpp"

namespace rpu {

Windows::Windows(const float* data, int n_axes, int n_leading, const int64_t* shape, const int64_t* strides)
    : data_(data), shape_(shape, shape + n_leading), stride_(strides, strides + n_leading), offset_{0} {
  for (int64_t n : shape_) samples_ *= n;
  for (int axis = n_leading; axis < n_axes; ++axis) {
    std::vector<int64_t> finer;
    for (int64_t first : offset_)
      for (int64_t i = 0; i < shape[axis]; ++i) finer.push_back(first + i * strides[axis]);
    offset_ = std::move(finer);
  }
}

void Windows::copy(Range samples, float* rows) const {
  for (int64_t sample = samples.begin; sample < samples.end; ++sample) {
    const float* first = data_;
    int64_t rest = sample;
    for (size_t axis = shape_.size(); axis-- > 0; rest /= shape_[axis]) first += rest % shape_[axis] * stride_[axis];
    for (int64_t offset : offset_) *rows++ = first[offset];
  }
}

ConstMatrix Batch::part(Range samples, std::vector<float>& buffer) const {
  const int64_t n = samples.end - samples.begin;
  if (windows_ == nullptr) return {matrix_.data + samples.begin * matrix_.stride, n, cols, matrix_.stride};
  buffer.resize(static_cast<size_t>(n * cols));
  constexpr int64_t kTask = 16;
  parallel_for((n + kTask - 1) / kTask, n * cols / 2, [&](int64_t i) {
    const int64_t first = i * kTask, last = first + kTask < n ? first + kTask : n;
    windows_->copy({samples.begin + first, samples.begin + last}, buffer.data() + first * cols);
  });
  return {buffer.data(), n, cols, cols};
}

}  // namespace rpu
