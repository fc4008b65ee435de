// Compiled once for each device, with RPU_DEVICE_NAME defined: its population, its pulses, its flow.
#include "../bodies/cells.hpp"
#include "../bodies/flow.hpp"
#include "devices.gen.hpp"
#include "update_cells.hpp"

RPU_BEGIN

template <class Device> void populate(const PopulateArgs& args, Stream_t stream) {
  over_quads(stream, args.rows, args.cols, Populate<Device>(args));
}

template <class Device> void update(const PulsedChunk& chunk, Stream_t stream) {
  const Matrix& w = chunk.args.weights;
  for_row_source(chunk.args.pulses, [&](auto tag) {
    using Source = typename decltype(tag)::Source;
    const CellUpdate<Device, Source> cell(chunk);
    if (merges_pulses(cell.device, chunk.args.noise)) over_quads(stream, w.rows, w.cols, UpdateQuads<Device, Source>{cell});
    else over_items(stream, w.rows * w.cols, UpdateSingly<Device, Source>{cell});
  });
}

template <class Device> struct MeanField {
  UpdateArgs args;
  Device device;

  RPU_FN void operator()(int64_t i) const {
    const int64_t row = i / args.weights.cols, col = i % args.weights.cols;
    float* w = args.weights.data + row * args.weights.stride + col;
    *w = mean_field_pack(args, device, row, col, 1, *w);
  }
};

template <class Device> void mean_field(const UpdateArgs& args, Stream_t stream) {
  const Device device(*static_cast<const typename Device::Params*>(args.params));
  over_items(stream, args.weights.rows * args.weights.cols, MeanField<Device>{args, device});
}

RPU_END

#define RPU_JOIN(a, b) a##b
#define RPU_FUNCTIONS(name) RPU_JOIN(functions_, name)

namespace rpu::RPU_LEVEL {

extern const DeviceFunctions RPU_FUNCTIONS(RPU_DEVICE_NAME) = {populate<RPU_DEVICE_NAME>, update<RPU_DEVICE_NAME>,
                                                               mean_field<RPU_DEVICE_NAME>};

}  // namespace rpu::RPU_LEVEL
