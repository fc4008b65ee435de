// Write noise: a cell stores the persistent weight p, and the array shows
//
//   w = p + sigma xi,   sigma = write_noise_std dw_min
//
// with a xi that is drawn anew whenever the cell is written, and stays until it is written again. Pulses and the slow
// processes act on p, so the noise of several writes does not add up. w may exceed the bounds.
#pragma once
#include "../rng.hpp"

RPU_BEGIN

/// Draw numbers of the stream WRITE_NOISE. Pulsed writes are addressed by chunk and update call, others by lifecycle call.
enum WriteDraw : uint32_t { kDrawPulsedWrite, kDrawWrite };

RPU_FN F written(F persistent, float sigma, F xi) { return persistent + sigma * xi; }

RPU_END
