// Host logic of the operations on cells: population, decay, diffusion, reset, clip, initial weights.
#pragma once
#include "../kernels.hpp"

namespace rpu {

void populate(DeviceKind device, const PopulateArgs& args);
void decay(const LifecycleArgs& args);
void diffuse(const LifecycleArgs& args);
void reset(const LifecycleArgs& args);
void clip(const LifecycleArgs& args);
void uniform(const UniformArgs& args);

}  // namespace rpu
