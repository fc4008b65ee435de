#include "stored.hpp"

#include "../cpu/dispatch.hpp"
#include "../cpu/thread_pool.hpp"
#include "accelerator.hpp"
#include "row_blocks.hpp"

namespace rpu {
namespace {

template <class Args>
void over_rows(Operation operation, const Args& args, int64_t rows, int64_t cols, void (*kernel)(const Args&, Range)) {
  if (runs_elsewhere(operation, args)) return;
  const RowBlocks blocks(rows, cols);
  parallel_for(blocks.count(), blocks.cells(), [&](int64_t i) { kernel(args, blocks[i]); });
}

}  // namespace

void write(const WriteArgs& args) {
  over_rows(Operation::write, args, args.visible.rows, args.visible.cols, kernels().write.all);
}

void drift(const DriftArgs& args) {
  over_rows(Operation::drift, args, args.weights.rows, args.weights.cols, kernels().drift.drift);
}

void follow_drift(const DriftArgs& args) {
  over_rows(Operation::follow_drift, args, args.weights.rows, args.weights.cols, kernels().drift.follow);
}

void draw_drift_exponents(const DriftArgs& args) {
  over_rows(Operation::draw_exponents, args, args.weights.rows, args.weights.cols, kernels().drift.draw_exponents);
}

}  // namespace rpu
