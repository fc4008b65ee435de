#include "windows.hpp"

#include <cstddef>
#include <cstring>
#include <type_traits>
#include <utility>

#include "../cpu/thread_pool.hpp"

namespace rpu {
namespace {

/// Calls work(n) with the length of a run, known to the compiler for the common widths of a kernel.
template <class Work> void with_length(int64_t run, Work&& work) {
  switch (run) {
    case 1: return work(std::integral_constant<int64_t, 1>{});
    case 3: return work(std::integral_constant<int64_t, 3>{});
    case 5: return work(std::integral_constant<int64_t, 5>{});
    case 7: return work(std::integral_constant<int64_t, 7>{});
    default: return work(run);
  }
}

/// The length of a run if the compiler knows it, else 0.
template <class Length> constexpr int64_t constant_length() {
  if constexpr (std::is_same_v<Length, int64_t>) return 0;
  else return Length::value;
}

}  // namespace

Windows::Windows(const float* data, int n_axes, int n_leading, const int64_t* shape, const int64_t* strides)
    : data_(data), shape_(shape, shape + n_leading), stride_(strides, strides + n_leading), run_offset_{0} {
  for (int64_t n : shape_) samples_ *= n;
  int inner = n_axes;  // from here on the axes lie as in a contiguous array
  while (inner > n_leading && (strides[inner - 1] == run_ || shape[inner - 1] == 1)) run_ *= shape[--inner];
  for (int axis = n_leading; axis < inner; ++axis) {
    std::vector<int64_t> finer;
    for (int64_t first : run_offset_)
      for (int64_t i = 0; i < shape[axis]; ++i) finer.push_back(first + i * strides[axis]);
    run_offset_ = std::move(finer);
  }
  bool forward = true;
  for (int axis = 0; axis < n_axes; ++axis) {
    end_ += (shape[axis] - 1) * strides[axis];
    forward &= strides[axis] >= 0 && shape[axis] > 0;
  }
  end_ = forward ? end_ + 1 : 0;
}

/// Calls visit(offset of the first element) for each sample.
template <class Visit> void Windows::visit(Range samples, Visit&& visit) const {
  if (samples.begin >= samples.end) return;  // an axis without samples has no place to begin at
  const size_t axes = shape_.size();
  std::vector<int64_t> at(axes);
  int64_t offset = 0, rest = samples.begin;
  for (size_t axis = axes; axis-- > 0; rest /= shape_[axis]) {
    at[axis] = rest % shape_[axis];
    offset += at[axis] * stride_[axis];
  }
  for (int64_t sample = samples.begin; sample < samples.end; ++sample) {
    visit(offset);
    for (size_t axis = axes; axis-- > 0;) {
      offset += stride_[axis];
      if (++at[axis] < shape_[axis]) break;
      offset -= shape_[axis] * stride_[axis];
      at[axis] = 0;
    }
  }
}

void Windows::copy(Range samples, float* rows, int64_t stride) const {
  with_length(run_, [&](auto run) {
    // A short run is moved as part of a longer one that the next run overwrites, so that no move has an odd length.
    constexpr int64_t kShort = constant_length<decltype(run)>();
    constexpr int64_t kMove = kShort < 2 || kShort > 8 ? 0 : kShort <= 4 ? 4 : 8;
    const size_t last = run_offset_.size() - 1;
    visit(samples, [&](int64_t first) {
      float* to = rows;
      size_t i = 0;
      if (kMove > 0 && first + run_offset_[last] + kMove <= end_)
        for (; i < last; ++i, to += run) std::memcpy(to, data_ + first + run_offset_[i], kMove * sizeof(float));
      for (; i <= last; ++i, to += run)
        std::memcpy(to, data_ + first + run_offset_[i], static_cast<size_t>(run) * sizeof(float));
      rows += stride;
    });
  });
}

void Windows::add(Range samples, const float* rows, float* data) const {
  with_length(run_, [&](auto run) {
    visit(samples, [&](int64_t first) {
      for (int64_t offset : run_offset_) {
        float* to = data + first + offset;
        for (int64_t i = 0; i < run; ++i) to[i] += rows[i];
        rows += run;
      }
    });
  });
}

void copy_windows(const Windows& windows, float* rows) {
  constexpr int64_t kTask = 256;
  const int64_t n = windows.samples(), width = windows.elements();
  parallel_for((n + kTask - 1) / kTask, n * width / 2, [&](int64_t i) {
    const int64_t first = i * kTask, last = first + kTask < n ? first + kTask : n;
    windows.copy({first, last}, rows + first * width);
  });
}

void add_windows(const Windows& windows, const float* rows, float* data, int64_t n_apart) {
  const int64_t each = windows.samples() / n_apart, width = windows.elements();
  parallel_for(n_apart, windows.samples() * width / 2, [&](int64_t i) {
    windows.add({i * each, (i + 1) * each}, rows + i * each * width, data);
  });
}

}  // namespace rpu
