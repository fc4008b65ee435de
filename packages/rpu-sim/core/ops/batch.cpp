#include "batch.hpp"

#include <cstddef>

#include "../cpu/thread_pool.hpp"

namespace rpu {

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
