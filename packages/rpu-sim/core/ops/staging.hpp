// Host arrays for an operation that runs elsewhere: copies of all that it reads and writes, and the results back.
// Slow; for tests of a plugin, and for whoever has no arrays on the device.
#pragma once
#include <memory>
#include <vector>

#include "../c_api.h"
#include "../operations.hpp"

namespace rpu {

/// Runs an operation whose arguments hold host arrays on a device of the plugin; throws what it reports. Inputs that
/// are not finite are an Error(NonFinite).
void run_staged(const RpuPlugin& plugin, int device, Operation operation, const void* args);

}  // namespace rpu
