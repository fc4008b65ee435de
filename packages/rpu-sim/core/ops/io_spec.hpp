// From IOParameters to the normalised form that the kernels read.
#pragma once
#include "../kernels_mvm.hpp"

namespace rpu {

IoSpec make_io_spec(const params::IOParameters& parameters, bool backward);

}  // namespace rpu
