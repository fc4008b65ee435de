#include "transfer.hpp"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>

#include "../cpu/thread_pool.hpp"
#include "row_blocks.hpp"

namespace rpu {
namespace {

constexpr float kLargest = std::numeric_limits<float>::max();

bool take_row(float* chi, int64_t n, float threshold, float most, int32_t* counts) {
  int32_t any = 0;
  for (int64_t i = 0; i < n; ++i) {
    float wanted = chi[i] / threshold;
    wanted = wanted < most ? wanted : most;
    wanted = wanted > -most ? wanted : -most;
    const int32_t steps = static_cast<int32_t>(wanted);
    chi[i] -= static_cast<float>(steps) * threshold;
    counts[i] = -steps;
    any |= steps;
  }
  return any != 0;
}

}  // namespace

bool take_steps(const BufferRule& rule, const BufferedSlice& s) {
  bool any = false;
  for (int64_t i = 0; i < s.n; ++i) {
    float value = s.read[i];
    if (s.past != nullptr) {
      if (s.starts_phase) s.past[i] = s.mean[i];
      value = value - s.past[i];
      s.mean[i] = (1.0f - rule.mean_weight) * s.mean[i] + rule.mean_weight * s.read[i];
    }
    float gathered = (rule.keeps ? s.buffer[i] : 0.0f) + s.gain * (s.out_sign[i] * value);
    gathered = std::clamp(gathered, -kLargest, kLargest);
    const float steps = std::clamp(std::trunc(gathered / rule.threshold), -rule.most_steps, rule.most_steps);
    float left = gathered;
    if (steps != 0.0f) left = rule.forgets ? rule.kept * gathered : gathered - ((1.0f - rule.kept) * steps) * rule.threshold;
    if (rule.cap > 0.0f) left = std::clamp(left, -rule.cap, rule.cap);
    s.buffer[i] = left;
    s.steps[i] = steps;
    any |= steps != 0.0f;
  }
  return any;
}

bool take_whole_steps(const Matrix& chi, float threshold, float most, int64_t first, int64_t n, int32_t* counts) {
  const RowBlocks blocks(chi.rows, chi.cols);
  std::atomic<bool> any{false};
  parallel_for(blocks.count(), blocks.cells() / 2, [&](int64_t i) {
    for (int64_t row = blocks[i].begin; row < blocks[i].end; ++row) {
      int32_t* out = counts + row * chi.cols;
      if ((row - first + chi.rows) % chi.rows >= n) std::fill_n(out, chi.cols, 0);
      else if (take_row(chi.data + row * chi.stride, chi.cols, threshold, most, out)) any = true;
    }
  });
  return any;
}

}  // namespace rpu
