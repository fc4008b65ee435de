// What the array does to the currents of one pass, and how its passes add up; the loops around it are in cpu/ and
// cuda/.
#pragma once
#include "../kernels_mvm.hpp"
#include "../physics/charge_counter.hpp"
#include "../physics/ir_drop.hpp"
#include "../physics/mvm_draws.hpp"
#include "../physics/nonlinearity.hpp"
#include "../physics/pulse_read_noise.hpp"
#include "../physics/read_noise.hpp"
#include "../physics/voltage_offset.hpp"

RPU_BEGIN

/// Arrays of products, [rows][stride]; null where an effect does not need one.
struct PassProducts {
  float *y, *load, *placed, *power, *noise[3];
};

/// One quad of outputs of a row, at index `at` of the products. `draws` are those of the pass.
RPU_FN void apply_array_effects(const ArrayProductArgs& args, const Pass& pass, const PassProducts& c,
                                const SampleDraws& draws, int64_t row, int64_t at, const Quad& quad) {
  const ArraySpec& array = args.product.io->array;
  const int64_t outputs = args.product.output.cols;
  F xi[4] = {}, pulse_xi[4] = {};
  if (array.w_noise > 0.0f) draws.normals(quad, kReadNoise, xi);
  if (args.noise_weights != nullptr) draws.normals(quad, kPulseReadNoise, pulse_xi);
  for (int k = 0; k < 4; ++k) {
    const int64_t i = at + 16 * k, col = quad.column(k);
    F y = load(c.y + i, kLanes);
    if (args.idle != nullptr) y = y + load(args.idle + col, outputs - col) * pass.idle;
    if (array.ir_drop > 0.0f)
      y = ir_dropped(y, load(c.load + i, kLanes) * args.load_per_current, load(c.placed + i, kLanes), array);
    if (array.offsets) {
      const F v = args.voltage_offset != nullptr ? load(args.voltage_offset + col, outputs - col) : F{};
      y = offset(y, pass.sum[row], v, array);
    }
    if (array.w_noise > 0.0f) {
      const F power = array.pcm_read_noise ? load(c.power + i, kLanes) : broadcast(pass.square_sum[row]);
      y = read_noisy(y, power, xi[k], array);
    }
    if (args.noise_weights != nullptr) {
      const F sums[3] = {load(c.noise[0] + i, kLanes), load(c.noise[1] + i, kLanes), load(c.noise[2] + i, kLanes)};
      y = y + pulse_read_noise(pass.magnitude_sum[row] * args.codes_per_sum, sums, args.noise_scale) * pulse_xi[k];
    }
    if (args.counter_step > 0.0f) y = counted(y, args.counter_step);
    store(c.y + i, y, kLanes);
  }
}

RPU_END
