// The per-cell parameters of pulsed devices: which slot of `CellFields` holds what.
#pragma once
#include "views.hpp"

namespace rpu {

enum BaseField : int { kMaxBound, kMinBound, kStepUp, kStepDown, kDecayScale, kDiffusionRate, kResetBias, kBaseFields };

constexpr int kMaxFields = 12;

struct CellFields {
  Field field[kMaxFields];
  int reference = -1;  // field by which the bounds are shifted (physics/reference.hpp); -1: none
};

/// Pulses of every cell since the tile was made, [rows, cols] each; null where they are not counted.
struct CellCounts {
  int64_t *up, *down;
};

/// Names in the state dict, in the order of BaseField; device-specific fields follow.
constexpr const char* kBaseFieldNames[kBaseFields] = {
    "max_bound", "min_bound", "dwmin_up", "dwmin_down", "decay_scales", "diffusion_rates", "reset_bias"};

}  // namespace rpu
