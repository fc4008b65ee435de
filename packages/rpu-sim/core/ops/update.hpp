// Host logic of the pulsed update: pulse management, chunks of the batch, trains, then the cells.
#pragma once
#include "../kernels.hpp"
#include "batch.hpp"

namespace rpu {

struct PulsedUpdate {
  DeviceKind device;
  const void* device_params;
  Matrix weights;
  CellFields cells;
  CellCounts counts;
  params::UpdateParameters parameters;  // resolutions already normalised
  Batch x, d;                           // [batch, in], [batch, out]
  float lr;                             // may be negative
  float granularity;
  uint64_t seed;
  uint32_t step, first_sample;
};

/// Updates the weights in place and returns the number of pulses; throws Error(NonFinite) before anything is changed.
/// NONE_WITH_DEVICE and MEAN_FIELD fire no pulses, and NONE is not for this function.
PulseTotals pulsed_update(const PulsedUpdate& update);

}  // namespace rpu
