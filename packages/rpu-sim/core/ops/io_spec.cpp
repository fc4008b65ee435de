#include "io_spec.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "../physics/resolution.hpp"

namespace rpu {
namespace {

using params::AnalogMVType;
using params::BoundManagementType;
using params::NoiseManagementType;

constexpr float kInfinity = std::numeric_limits<float>::infinity();

}  // namespace

Converter make_converter(float resolution, float bound, bool stochastic_rounding) {
  return converter_of(steps_of(resolution), bound, stochastic_rounding);
}

namespace {

/// Neutral values: the product times out_scale.
IoSpec perfect(float out_scale, bool backward) {
  IoSpec io{};
  io.backward = backward;
  io.noise_management = NoiseManagementType::NONE;
  io.bound_management = BoundManagementType::NONE;
  io.dac = io.adc = make_converter(0.0f, 0.0f, false);
  io.inp_negative = io.out_negative = 1.0f;
  io.out_scale = out_scale;
  io.max_dac_reduction = io.max_reduction = kInfinity;
  io.array.mv_type = AnalogMVType::ONE_PASS;
  io.array.passes = 1;
  return io;
}

uint32_t largest_code(const Converter& dac) { return static_cast<uint32_t>(std::rint(dac.bound * dac.per_unit)); }

/// Bits of the largest code of a DAC, without its sign.
uint32_t code_bits(const Converter& dac) {
  uint32_t bits = 0;
  while (largest_code(dac) >> bits != 0) ++bits;
  return bits;
}

/// Which pass sends which bits.
void make_passes(ArraySpec& array, const Converter& dac, int32_t bit_shift) {
  constexpr uint32_t kAll = 0xffffffffu;
  const auto shift = static_cast<uint32_t>(bit_shift);
  switch (array.mv_type) {
    case AnalogMVType::IDEAL:
    case AnalogMVType::ONE_PASS:
      break;
    case AnalogMVType::POS_NEG_SEPARATE:
    case AnalogMVType::POS_NEG_SEPARATE_DIGITAL_SUM:
      array.passes = 2;
      break;
    case AnalogMVType::SPLIT_MODE:
      array.passes = 2;
      array.bits[0] = {0, (1u << shift) - 1};
      array.bits[1] = {shift, kAll};
      break;
    case AnalogMVType::BIT_WISE:
      array.passes = static_cast<int32_t>(code_bits(dac));
      for (int32_t p = 0; p < array.passes; ++p) array.bits[p] = {static_cast<uint32_t>(p), 1u};
      break;
  }
  array.converts_each = array.passes > 1 && array.mv_type != AnalogMVType::POS_NEG_SEPARATE;
}

/// Points in time for the codes of one pass.
PulseGrid make_grid(const params::IOParametersIRDropT& p, const Converter& dac, const CodeBits& bits) {
  const uint32_t part = largest_code(dac) >> bits.shift;
  const double codes = static_cast<double>(bits.mask != 0 && part > bits.mask ? bits.mask : part);
  const double scale = static_cast<double>(p.ir_drop_time_step_resolution_scale);
  const double points = std::max(2.0, std::floor((codes + 1.0) * scale)), per_code = (points - 1.0) / codes;
  return {static_cast<float>(points), static_cast<float>(per_code * static_cast<double>(dac.per_unit)),
          static_cast<float>(static_cast<double>(dac.step) / per_code), p.ir_drop_integration_sum ? 0.0f : 0.5f};
}

ArraySpec make_array(const params::IOParameters& p, const Converter& dac, const Converter& adc) {
  const float bound = std::isinf(adc.bound) ? 1.0f : adc.bound;
  ArraySpec array{};
  array.mv_type = p.mv_type;
  array.passes = 1;
  make_passes(array, dac, p.split_mode_bit_shift);
  array.ir_drop = p.ir_drop;
  array.ir_drop_g_ratio = p.ir_drop_g_ratio;
  if (p.w_noise_type != params::WeightNoiseType::NONE) array.w_noise = p.w_noise;
  array.pcm_read_noise = array.w_noise > 0.0f && p.w_noise_type == params::WeightNoiseType::PCM_READ;
  array.offsets = p.v_offset_std > 0.0f || p.r_series > 0.0f;
  array.v_offset_std = p.v_offset_std;
  array.reference_weight = -p.v_offset_w_min;
  array.r_series = p.r_series;
  array.saturates = p.out_nonlinearity > 0.0f || p.r_series > 0.0f;
  array.nonlinearity = p.out_nonlinearity / bound;
  array.nonlinearity_std = p.out_nonlinearity_std;
  array.slope_calibration = p.slope_calibration * bound;
  if (array.mv_type == AnalogMVType::POS_NEG_SEPARATE || array.mv_type == AnalogMVType::POS_NEG_SEPARATE_DIGITAL_SUM)
    array.read_asymmetry = p.w_read_asymmetry_dtod;
  array.active = array.mv_type != AnalogMVType::ONE_PASS || array.ir_drop > 0.0f || array.w_noise > 0.0f ||
                 array.offsets || array.saturates;
  return array;
}

}  // namespace

IoSpec make_io_spec(const params::IOParameters& p, bool backward) {
  IoSpec io = perfect(p.out_scale, backward);
  if (p.is_perfect || p.mv_type == AnalogMVType::IDEAL) return io;
  io.noise_management = p.noise_management;
  if (!backward) io.bound_management = p.bound_management;
  io.dac = make_converter(p.inp_res, p.inp_bound, p.inp_sto_round);
  io.adc = make_converter(p.out_res, p.out_bound, p.out_sto_round);
  io.inp_noise = p.inp_noise;
  io.inp_negative = 1.0f - p.inp_asymmetry;
  io.out_noise = p.out_noise;
  io.out_noise_std = p.out_noise_std;
  io.out_negative = 1.0f - p.out_asymmetry;
  io.nm_thres = p.noise_management == NoiseManagementType::NONE ? 0.0f : p.nm_thres;
  if (io.dac.step > 0.0f) io.max_dac_reduction = p.max_bm_res / io.dac.step;
  io.max_reduction = std::min(static_cast<float>(p.max_bm_factor), io.max_dac_reduction);
  io.test_negative_bound = p.bm_test_negative_bound;
  io.array = make_array(p, io.dac, io.adc);
  return io;
}

void add_time_slices(IoSpec& io, const params::IOParametersIRDropT& p, int64_t physical_inputs) {
  if (p.is_perfect || p.mv_type == AnalogMVType::IDEAL) return;
  TimeSlices& slices = io.array.slices;
  io.array.active = slices.active = true;
  io.array.ir_drop = 0.0f;  // the simple model
  slices.segments = p.ir_drop_segments;
  slices.physical_inputs = physical_inputs;
  slices.wire = 1e-6f * p.ir_drop * p.ir_drop_rs;
  slices.v_read = p.ir_drop_v_read;
  slices.g_max = p.ir_drop_g_max;
  slices.g_min = p.ir_drop_g_min;
  slices.charge_unit = p.adc_quantization ? 100.0f / p.adc_frequency : 0.0f;
  slices.read_noise = p.apply_xdep_pcm_read_noise ? p.xdep_pcm_read_noise_scale : 0.0f;
  for (int32_t pass = 0; pass < io.array.passes; ++pass)
    slices.grid[pass] = make_grid(p, io.dac, io.array.bits[pass]);
}

}  // namespace rpu
