// Buffers and loops that the operations over batches share.
#pragma once
#include <algorithm>
#include <cstdint>
#include <type_traits>
#include <vector>

#include "../cpu/thread_pool.hpp"
#include "../views.hpp"

namespace rpu {

inline int64_t divided(int64_t n, int64_t by) { return (n + by - 1) / by; }

/// A buffer that only grows, so that repeated calls do not touch fresh memory. It starts at a cache line.
template <class T> class Buffer {
 public:
  T* sized(int64_t n) {
    const auto needed = static_cast<size_t>(n) * sizeof(T) + kLine - 1;
    if (needed > bytes_.size()) bytes_.resize(needed);
    const auto address = reinterpret_cast<uintptr_t>(bytes_.data());
    return reinterpret_cast<T*>((address + kLine - 1) / kLine * kLine);
  }

 private:
  static_assert(std::is_trivially_copyable_v<T>, "a buffer holds plain values");
  static constexpr size_t kLine = 64;
  std::vector<unsigned char> bytes_;
};

/// Calls kernel(range) for ranges of rows of about 8192 values each.
template <class Kernel> void over_rows(int64_t rows, int64_t cols, int64_t ns_per_1024, Kernel&& kernel) {
  const int64_t per_task = std::max<int64_t>(1, 8192 / cols);
  parallel_for(divided(rows, per_task), rows * cols * ns_per_1024 / 1024, [&](int64_t i) {
    kernel(Range{i * per_task, std::min(rows, (i + 1) * per_task)});
  });
}

}  // namespace rpu
