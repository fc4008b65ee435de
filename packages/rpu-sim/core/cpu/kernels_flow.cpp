// Updates without pulses, sample by sample: the mean-field flow of the devices, and exact changes within their bounds.
// Compiled once per instruction-set level.
#include "../bodies/flow.hpp"
#include "devices.gen.hpp"

RPU_BEGIN

/// Calls body(row, col, n, w) for every pack of cells, and stores the weights that it returns.
template <class Body> RPU_FN void map_packs(const Matrix& weights, Range rows, Body&& body) {
  for (int64_t row = rows.begin; row < rows.end; ++row)
    for (int64_t col = 0; col < weights.cols; col += kLanes) {
      float* at = weights.data + row * weights.stride + col;
      const int64_t n = weights.cols - col;
      store(at, body(row, col, n, load(at, n)), n);
    }
}

template <class Device> void mean_field(const UpdateArgs& args, Range rows) {
  const Device device(*static_cast<const typename Device::Params*>(args.params));
  map_packs(args.weights, rows,
            [&](int64_t row, int64_t col, int64_t n, F w) { return mean_field_pack(args, device, row, col, n, w); });
}

void bounded_rank_update(const BoundedRankArgs& args, Range rows) {
  map_packs(args.weights, rows,
            [&](int64_t row, int64_t col, int64_t n, F w) { return bounded_rank_pack(args, row, col, n, w); });
}

RPU_END

namespace rpu::RPU_LEVEL {

void register_flow(UpdateKernels& table) {
  table.bounded_rank_update = bounded_rank_update;
#define RPU_DEVICE(name, header) table.mean_field[static_cast<int>(DeviceKind::name)] = mean_field<name>;
#include "../devices.def"
#undef RPU_DEVICE
}

}  // namespace rpu::RPU_LEVEL
