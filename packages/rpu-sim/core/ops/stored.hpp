// Host logic of cells that hold more than the visible weight: write noise and drift.
#pragma once
#include "../kernels.hpp"

namespace rpu {

/// Shows every stored weight with fresh write noise.
void write(const WriteArgs& args);
void drift(const DriftArgs& args);
/// Tells the drift that the weights changed by something that is no write.
void follow_drift(const DriftArgs& args);
void draw_drift_exponents(const DriftArgs& args);

}  // namespace rpu
