// Host logic of the operations on a weight matrix: modified copies, clipping, remapping. `out` may be the source itself.
#pragma once
#include <vector>

#include "../kernels.hpp"

namespace rpu {

/// What is done to a modified copy, with the numbers that Python derives from the dataclass.
struct ModifierSpec {
  params::WeightModifierParameter parameters;
  std::vector<float> noise;  // see ModifyArgs
  float log_time, read_noise;
};

/// Copies number first_sample ... of `source`, one behind the other. Throws Error(NonFinite) before anything is written.
void modify_weights(const ModifierSpec& spec, const ConstMatrix& source, float* out, int64_t copies, uint64_t seed,
                    uint32_t step, uint32_t first_sample);
void clip_weights(const params::WeightClipParameter& clip, const ConstMatrix& source, const Matrix& out);

/// Whether that would change nothing; waits for the device that has the weights.
bool is_clipped(const params::WeightClipParameter& clip, const ConstMatrix& w);

/// Clips W / s to the bound, in W itself, whose other elements keep their bits; returns whether any was beyond it. `scale`
/// is one number for each row, or for all, or null.
bool clip_in_place(const params::WeightClipParameter& clip, const Matrix& w, const float* scale, bool one_scale);

/// `scales` [rows] are changed in place.
void remap_weights(const params::WeightRemapParameter& remap, const ConstMatrix& source, const Matrix& out, float* scales);

}  // namespace rpu
