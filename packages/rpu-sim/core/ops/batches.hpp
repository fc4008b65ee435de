// Buffers and loops that the operations over batches share.
#pragma once
#include <algorithm>
#include <cstdint>
#include <vector>

#include "../cpu/thread_pool.hpp"
#include "../views.hpp"

namespace rpu {

inline int64_t divided(int64_t n, int64_t by) { return (n + by - 1) / by; }

/// A buffer that only grows, so that repeated calls do not touch fresh memory.
template <class T> class Buffer {
 public:
  T* sized(int64_t n) {
    if (n > static_cast<int64_t>(values_.size())) values_.resize(static_cast<size_t>(n));
    return values_.data();
  }

 private:
  std::vector<T> values_;
};

/// Calls kernel(range) for ranges of rows of about 32768 values each.
template <class Kernel> void over_rows(int64_t rows, int64_t cols, int64_t ns_per_1024, Kernel&& kernel) {
  const int64_t per_task = std::max<int64_t>(1, 32768 / cols);
  parallel_for(divided(rows, per_task), rows * cols * ns_per_1024 / 1024, [&](int64_t i) {
    kernel(Range{i * per_task, std::min(rows, (i + 1) * per_task)});
  });
}

}  // namespace rpu
