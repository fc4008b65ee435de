// Updates of one pack of cells without pulses, sample by sample: the mean-field flow of the devices, and exact changes
// within their bounds. The loops around it are in cpu/ and cuda/.
#pragma once
#include "../kernels.hpp"
#include "../physics/flow.hpp"

RPU_BEGIN

/// Which cells a pulse in these directions reaches; those of a one-sided device are then pulsed up.
RPU_FN M reached(Drive drive, M up) {
  const M all = as_i(lane_index()) >= 0;
  if (drive == Drive::kUp) return up;
  return drive == Drive::kBoth ? all : up == M{};
}

/// The weights of `n` cells after the batch.
template <class Device>
RPU_FN F mean_field_pack(const UpdateArgs& args, const Device& device, int64_t row, int64_t col, int64_t n, F w) {
  const Coincidences& p = args.pulses;
  const uint32_t flip = args.flip ? ~0u : 0u;
  const auto cell = device.cell(PackReader{args.cells, row, col, n});
  for (int64_t sample = 0; sample < p.n_samples; ++sample) {
    const float d = p.d_value[sample * p.d_stride + row];
    if (d == 0.0f) continue;
    const F x = load(p.x_value + sample * p.x_stride + col, n);
    const F pulses = (static_cast<float>(p.length[sample]) * abs_(x)) * abs_(broadcast(d));
    const U product_negative = as_u(as_i(f_to_bits(x) ^ f_to_bits(broadcast(d))) >> 31);
    const M up = (product_negative ^ flip) != 0u, driven = reached(p.drive, up) & (pulses > 0.0f);
    w = select(driven, flow(device, w, p.drive == Drive::kBoth ? up : driven, cell, pulses), w);
  }
  return w;
}

RPU_FN F bounded_rank_pack(const BoundedRankArgs& args, int64_t row, int64_t col, int64_t n, F w) {
  const PackReader read{args.cells, row, col, n};
  const F low = read.bound(kMinBound), high = read.bound(kMaxBound);
  for (int64_t sample = 0; sample < args.x.rows; ++sample) {
    const F x = load(args.x.data + sample * args.x.stride + col, n);
    const float d = args.d.data[sample * args.d.stride + row];
    const float rate = args.rates == nullptr ? args.lr : args.lr * args.rates[sample];
    w = clip(fma_(broadcast(-rate * d), x, w), low, high);
  }
  return w;
}

RPU_END
