// Host logic of the pulsed update: pulse management, chunks of the batch, trains, then the cells.
#pragma once
#include <vector>

#include "../kernels.hpp"
#include "batch.hpp"

namespace rpu {

struct PulsedUpdate {
  DeviceKind device;
  const void* device_params;
  Matrix weights;
  CellFields cells;
  CellCounts counts;
  Matrix visible;                       // what the array shows of the weights; no data: the weights themselves
  float write_noise;                    // standard deviation of the visible weight around the stored one
  params::UpdateParameters parameters;  // resolutions already normalised
  Batch x, d;                           // [batch, in], [batch, out]
  Drive drive;
  float lr;                             // may be negative
  const float* rates;                   // factor on lr of each sample, not negative; null: 1
  float highest_rate;                   // the largest of them, which the host cannot read on another device; 0: look
  float granularity;
  uint64_t seed;                        // of the cycle noise
  uint32_t step;
  uint64_t train_seed;                  // of the trains: arrays on the same lines share them
  uint32_t train_step, first_sample;
  int64_t* fired;                       // where another device counts the pulses, [2]; null: they are returned
};

/// Throws unless trains are long enough for this learning rate, whatever x and d.
void check_rate(const params::UpdateParameters& parameters, float rate, float granularity);

/// Updates the weights in place and returns the number of pulses; throws Error(NonFinite) before anything is changed.
/// NONE_WITH_DEVICE and MEAN_FIELD fire no pulses, and NONE is not for this function.
PulseTotals pulsed_update(const PulsedUpdate& update);

/// Updates of arrays that have nothing to do with each other, such as those of a grid of tiles: the same as one call for
/// each, with the launches of one on a GPU, and on the CPU several small arrays at a time; throws before anything is changed.
std::vector<PulseTotals> pulsed_updates(const std::vector<PulsedUpdate>& updates);

/// Fires counts[row * cols + col] pulses at every cell, positive ones up; at most kMaxChunkSlots at a cell. `most` is the
/// largest number of them or more, or negative where it is not known.
PulseTotals fire_counts(const PulsedUpdate& update, const int32_t* counts, int32_t most);

}  // namespace rpu
