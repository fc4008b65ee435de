#include "transfer.hpp"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>

#include "../cpu/dispatch.hpp"
#include "../cpu/thread_pool.hpp"
#include "row_blocks.hpp"

namespace rpu {
namespace {

constexpr float kLargest = std::numeric_limits<float>::max();

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

int32_t take_whole_steps(const Matrix& chi, float threshold, float most, int64_t first, int64_t n, int32_t* counts) {
  const WholeStepArgs args{chi, threshold, most, first, n, counts};
  const RowBlocks blocks(chi.rows, chi.cols);
  std::atomic<int32_t> largest{0};
  parallel_for(blocks.count(), blocks.cells() / 4, [&](int64_t i) {
    const int32_t found = kernels().cell.whole_steps(args, blocks[i]);
    int32_t before = largest.load();
    while (before < found && !largest.compare_exchange_weak(before, found)) {}
  });
  return largest;
}

}  // namespace rpu
