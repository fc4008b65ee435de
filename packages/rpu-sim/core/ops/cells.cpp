#include "cells.hpp"

#include "../cpu/dispatch.hpp"
#include "../cpu/thread_pool.hpp"
#include "accelerator.hpp"
#include "row_blocks.hpp"

namespace rpu {
namespace {

void over_rows(Operation operation, const LifecycleArgs& args, void (*kernel)(const LifecycleArgs&, Range)) {
  if (runs_elsewhere(operation, args)) return;
  const RowBlocks blocks(args.weights.rows, args.weights.cols);
  parallel_for(blocks.count(), blocks.cells(), [&](int64_t i) { kernel(args, blocks[i]); });
}

}  // namespace

void populate(DeviceKind device, const PopulateArgs& args) {
  if (runs_elsewhere(Operation::populate, PopulateCall{device, args})) return;
  const auto kernel = kernels().cell.populate[static_cast<int>(device)];
  const RowBlocks blocks(args.rows, args.cols);
  parallel_for(blocks.count(), 6 * blocks.cells(), [&](int64_t i) { kernel(args, blocks[i]); });
}

void decay(const LifecycleArgs& args) { over_rows(Operation::decay, args, kernels().cell.decay); }
void diffuse(const LifecycleArgs& args) { over_rows(Operation::diffuse, args, kernels().cell.diffuse); }
void reset(const LifecycleArgs& args) { over_rows(Operation::reset, args, kernels().cell.reset); }
void clip(const LifecycleArgs& args) { over_rows(Operation::clip, args, kernels().cell.clip); }

void uniform(const UniformArgs& args) {
  if (runs_elsewhere(Operation::uniform, args)) return;
  const RowBlocks blocks(args.out.rows, args.out.cols);
  const auto kernel = kernels().cell.uniform;
  parallel_for(blocks.count(), blocks.cells(), [&](int64_t i) { kernel(args, blocks[i]); });
}

}  // namespace rpu
