// Loops over cells: population, lifecycle and initial weights. Compiled once per instruction-set level.
#include "../bodies/cells.hpp"
#include "devices.gen.hpp"
#include "loops.hpp"

RPU_BEGIN

template <class Device> void populate(const PopulateArgs& args, Range rows) {
  over_quads(Populate<Device>(args), args.cols, rows);
}

template <class Body> void lifecycle(const LifecycleArgs& args, Range rows) { over_quads(Body(args), args.weights.cols, rows); }

void uniform_weights(const UniformArgs& args, Range rows) { over_quads(Uniform(args), args.out.cols, rows); }

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
}

}  // namespace rpu::RPU_LEVEL
