// What the array does to the currents of one pass, and how its passes add up; the loops around it are in cpu/ and
// cuda/.
#pragma once
#include "../kernels_mvm.hpp"
#include "../physics/charge_counter.hpp"
#include "../physics/ir_drop.hpp"
#include "../physics/mvm_draws.hpp"
#include "../physics/pulse_read_noise.hpp"
#include "../physics/read_noise.hpp"
#include "../physics/voltage_offset.hpp"

RPU_BEGIN

/// Arrays of products of one pass, [rows][stride]; those that no effect needs are not read.
struct PassProducts {
  float *y, *load, *placed, *power, *noise[3];
};

/// What the array does to the currents of one pass, for one quad of outputs after the other.
class ArrayEffects {
 public:
  RPU_FN ArrayEffects(const ArrayProductArgs& args, const Pass& pass, const PassProducts& products)
      : args_(args), array_(args.product.io->array), pass_(pass), c_(products), outputs_(args.product.output.cols) {}

  /// A quad of a row, at index `at` of the products. `draws` are those of the pass.
  RPU_FN void operator()(const SampleDraws& draws, int64_t row, int64_t at, const Quad& quad) const {
    F xi[4] = {}, pulse_xi[4] = {};
    if (array_.w_noise > 0.0f) draws.normals(quad, kReadNoise, xi);
    if (args_.noise_weights != nullptr) draws.normals(quad, kPulseReadNoise, pulse_xi);
    for (int k = 0; k < 4; ++k) {
      const int64_t i = at + 16 * k, col = quad.column(k);
      F y = load(c_.y + i, kLanes);
      if (args_.idle != nullptr) y = y + load(args_.idle + col, outputs_ - col) * pass_.idle;
      if (array_.ir_drop > 0.0f)
        y = ir_dropped(y, load(c_.load + i, kLanes) * args_.load_per_current, load(c_.placed + i, kLanes), array_);
      if (array_.offsets) {
        const F v = args_.voltage_offset != nullptr ? load(args_.voltage_offset + col, outputs_ - col) : F{};
        y = offset(y, pass_.sum[row], v, array_);
      }
      if (array_.w_noise > 0.0f) {
        const F power = array_.pcm_read_noise ? load(c_.power + i, kLanes) : broadcast(pass_.square_sum[row]);
        y = read_noisy(y, power, xi[k], array_);
      }
      if (args_.noise_weights != nullptr) {
        const F sums[3] = {load(c_.noise[0] + i, kLanes), load(c_.noise[1] + i, kLanes), load(c_.noise[2] + i, kLanes)};
        y = y + pulse_read_noise(pass_.magnitude_sum[row] * args_.codes_per_sum, sums, args_.noise_scale) * pulse_xi[k];
      }
      if (args_.counter_step > 0.0f) y = counted(y, args_.counter_step);
      store(c_.y + i, y, kLanes);
    }
  }

 private:
  const ArrayProductArgs& args_;
  const ArraySpec& array_;
  const Pass& pass_;
  const PassProducts c_;  // by value, so that stores cannot change the addresses
  const int64_t outputs_;
};

RPU_END
