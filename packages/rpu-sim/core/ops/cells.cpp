#include "cells.hpp"

#include "../cpu/dispatch.hpp"
#include "../cpu/thread_pool.hpp"
#include "row_blocks.hpp"

namespace rpu {
namespace {

void over_rows(const LifecycleArgs& args, void (*kernel)(const LifecycleArgs&, Range)) {
  const RowBlocks blocks(args.weights.rows, args.weights.cols);
  parallel_for(blocks.count(), blocks.cells(), [&](int64_t i) { kernel(args, blocks[i]); });
}

}  // namespace

void populate(DeviceKind device, const PopulateArgs& args) {
  const auto kernel = kernels().cell.populate[static_cast<int>(device)];
  const RowBlocks blocks(args.rows, args.cols);
  parallel_for(blocks.count(), 6 * blocks.cells(), [&](int64_t i) { kernel(args, blocks[i]); });
}

void decay(const LifecycleArgs& args) { over_rows(args, kernels().cell.decay); }
void diffuse(const LifecycleArgs& args) { over_rows(args, kernels().cell.diffuse); }
void reset(const LifecycleArgs& args) { over_rows(args, kernels().cell.reset); }
void clip(const LifecycleArgs& args) { over_rows(args, kernels().cell.clip); }

void uniform(const UniformArgs& args) {
  const RowBlocks blocks(args.out.rows, args.out.cols);
  const auto kernel = kernels().cell.uniform;
  parallel_for(blocks.count(), blocks.cells(), [&](int64_t i) { kernel(args, blocks[i]); });
}

}  // namespace rpu
