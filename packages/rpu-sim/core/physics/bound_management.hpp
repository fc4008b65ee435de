// Bound management: a product whose outputs exceed the ADC is repeated, with fresh noise, with inputs reduced by rho.
// Plain floats.
//
//   ITERATIVE             rho = 1, 2, 4, ... until no output exceeds the bound, or rho > max_bm_factor, or
//                         rho > max_bm_res / (DAC step); the limits are tested after the product
//   ITERATIVE_WORST_CASE  after the first product, the scale of noise management is replaced by ABS_MAX_NP_SUM and rho
//                         starts again at 1
#pragma once
#include "../host_device.hpp"
#include "../kernels_mvm.hpp"

namespace rpu {

/// One attempt.
struct BoundRound {
  float reduction;  // rho
  bool worst_case;  // uses the ABS_MAX_NP_SUM scale
};

RPU_BOTH BoundRound bound_round(const IoSpec& io, uint32_t round) {
  using params::BoundManagementType;
  using params::NoiseManagementType;
  const bool worst_case = io.bound_management == BoundManagementType::ITERATIVE_WORST_CASE && round > 0 &&
                          io.noise_management != NoiseManagementType::ABS_MAX_NP_SUM;
  const uint32_t doublings = worst_case ? round - 1 : round;
  return {static_cast<float>(uint64_t{1} << doublings), worst_case};
}

RPU_BOTH bool gives_up(const IoSpec& io, const BoundRound& round) { return round.reduction > io.max_reduction; }

}  // namespace rpu
