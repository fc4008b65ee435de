#include "transfer.hpp"

#include <algorithm>
#include <atomic>

#include "../cpu/dispatch.hpp"
#include "../cpu/thread_pool.hpp"
#include "accelerator.hpp"
#include "row_blocks.hpp"

namespace rpu {
namespace {


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

int32_t take_whole_steps(const Matrix& chi, float threshold, float most, int64_t first, int64_t n, int32_t* counts) {
  if (const Accelerator* where = accelerator()) {
    Returned largest(*where);
    const TakeWholeStepsCall call{chi, threshold, most, first, n, counts, largest.at()};
    run_on(*where, Operation::take_whole_steps, &call);
    return static_cast<int32_t>(largest.value());
  }
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
