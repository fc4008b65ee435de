#include "transfer.hpp"

#include <algorithm>
#include <atomic>

#include "../cpu/thread_pool.hpp"
#include "accelerator.hpp"
#include "row_blocks.hpp"

namespace rpu {
namespace {

bool take_row(float* chi, int64_t n, float threshold, float most, int32_t* counts) {
  int32_t any = 0;
  for (int64_t i = 0; i < n; ++i) {
    const int32_t steps = take_whole_step(chi + i, threshold, most);
    counts[i] = -steps;
    any |= steps;
  }
  return any != 0;
}

}  // namespace

bool take_steps(const BufferRule& rule, const BufferedSlice& slice) {
  if (const Accelerator* where = accelerator()) {
    Returned any(*where);
    const TakeStepsCall call{rule, slice, any.at()};
    run_on(*where, Operation::take_steps, &call);
    return any.value() != 0;
  }
  bool any = false;
  for (int64_t i = 0; i < slice.n; ++i) any |= take_step(rule, slice, i) != 0.0f;
  return any;
}

bool take_whole_steps(const Matrix& chi, float threshold, float most, int64_t first, int64_t n, int32_t* counts) {
  if (const Accelerator* where = accelerator()) {
    Returned any(*where);
    const TakeWholeStepsCall call{chi, threshold, most, first, n, counts, any.at()};
    run_on(*where, Operation::take_whole_steps, &call);
    return any.value() != 0;
  }
  const RowBlocks blocks(chi.rows, chi.cols);
  std::atomic<bool> any{false};
  parallel_for(blocks.count(), blocks.cells() / 2, [&](int64_t i) {
    for (int64_t row = blocks[i].begin; row < blocks[i].end; ++row) {
      int32_t* out = counts + row * chi.cols;
      if (!is_row_of_turn(row, first, n, chi.rows)) std::fill_n(out, chi.cols, 0);
      else if (take_row(chi.data + row * chi.stride, chi.cols, threshold, most, out)) any = true;
    }
  });
  return any;
}

}  // namespace rpu
