// From IOParameters and resolutions to the normalised form that the kernels read.
#pragma once
#include "../kernels_mvm.hpp"

namespace rpu {

/// See physics/resolution.hpp.
Converter make_converter(float resolution, float bound, bool stochastic_rounding);

IoSpec make_io_spec(const params::IOParameters& parameters, bool backward);

/// Adds what IOParametersIRDropT has beyond IOParameters; the tile's inputs lie in an array of `physical_inputs`.
void add_time_slices(IoSpec& io, const params::IOParametersIRDropT& parameters, int64_t physical_inputs);

}  // namespace rpu
