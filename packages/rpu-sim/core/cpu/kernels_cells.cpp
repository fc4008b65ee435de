// Loops over cells: population, lifecycle and initial weights. Compiled once per instruction-set level.
#include <algorithm>

#include "../bodies/cells.hpp"
#include "../bodies/transfer.hpp"
#include "../physics/whole_steps.hpp"
#include "devices.gen.hpp"
#include "loops.hpp"

RPU_BEGIN

template <class Device> void populate(const PopulateArgs& args, Range rows) {
  over_quads(Populate<Device>(args), args.cols, rows);
}

template <class Body> void lifecycle(const LifecycleArgs& args, Range rows) { over_quads(Body(args), args.weights.cols, rows); }

void uniform_weights(const UniformArgs& args, Range rows) { over_quads(Uniform(args), args.out.cols, rows); }

int32_t whole_steps(const WholeStepArgs& args, Range rows) {
  I largest{};
  for (int64_t row = rows.begin; row < rows.end; ++row) {
    float* chi = args.chi.data + row * args.chi.stride;
    int32_t* counts = args.counts + row * args.chi.cols;
    if (!is_row_of_turn(row, args.first, args.n, args.chi.rows)) {
      __builtin_memset(counts, 0, static_cast<size_t>(args.chi.cols) * sizeof *counts);
      continue;
    }
    for (int64_t col = 0; col < args.chi.cols; col += kLanes) {
      const int64_t n = args.chi.cols - col;
      F left = load(chi + col, n);
      const I steps = take_whole_steps(left, args.threshold, args.most), size = select(steps < 0, I{} - steps, steps);
      store(chi + col, left, n);
      store(reinterpret_cast<float*>(counts + col), bits_to_f(as_u(I{} - steps)), n);
      largest = select(size > largest, size, largest);
    }
  }
  int32_t most = 0;
  for (int i = 0; i < kLanes; ++i) most = std::max(most, static_cast<int32_t>(get(as_u(largest), i)));
  return most;
}

RPU_END

namespace rpu::RPU_LEVEL {

void register_cells(CellKernels& table) {
#define RPU_DEVICE(name, header) table.populate[static_cast<int>(DeviceKind::name)] = populate<name>;
#include "../devices.def"
#undef RPU_DEVICE
  table.decay = lifecycle<Decay>;
  table.diffuse = lifecycle<Diffuse>;
  table.reset = lifecycle<Reset>;
  table.clip = lifecycle<Clip>;
  table.uniform = uniform_weights;
  table.whole_steps = whole_steps;
}

}  // namespace rpu::RPU_LEVEL
