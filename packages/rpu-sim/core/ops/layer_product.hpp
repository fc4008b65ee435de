// The product of a layer between its digital ends (physics/input_range.hpp): y = r s (W' u) + b with u = clip(x, -r, r) / r,
// where W' is a modified copy of W / s. One call, because each of its parts alone would be a pass over the inputs.
#pragma once
#include "mvm.hpp"
#include "patches.hpp"
#include "weights.hpp"

namespace rpu {

/// Mapping scales s: one for each output, or one for all.
struct Scales {
  const float* data;  // null: 1
  bool one;
  float of(int64_t output) const { return data == nullptr ? 1.0f : data[one ? 0 : output]; }
};

struct LayerProduct {
  Mvm read;                      // without its input; `weights` are W and `output` is z
  const ModifierSpec* modifier;  // or null
  float* copy;                   // [out, in] gets W' where it is not W
  const Patches& patches;
  const float* x;                // [images, channels, *size], or with the channels last
  bool channels_last;
  float range;                   // r; 0: none
  Scales scales;
  const float* bias;             // or null
  Matrix y;                      // may be z
};

struct LayerMagnitudes {
  float input, output;  // largest |x| and |z|
};

/// Throws Error(NonFinite) where x or W contain NaN, or infinity without a range; then y and z are arbitrary.
LayerMagnitudes layer_product(const LayerProduct& call);

/// The gradients of a product with x, W' and z as they were (physics/input_range.hpp). Noise is a constant, rounding passes
/// gradients on, and an output that is held at the bound of the ADC passes none.
struct LayerGradients {
  const Patches& patches;
  ConstMatrix d;     // [samples, out], gradient of y
  const float* x;
  bool channels_last;
  ConstMatrix copy;  // W'
  const float* z;    // [samples, out]; needed for dr and with a bound
  float bound;       // of z; 0: no output is held
  float range;       // r; 0: none
  bool clips;        // whether any |x| exceeds r
  Scales scales;
  float decay, wanted;        // dr gets decay * r where more than the part `wanted` of the inputs is inside
  float *dx, *dw, *db, *dr;   // null where not wanted; dx lies as x
};

void layer_gradients(const LayerGradients& call);

}  // namespace rpu
