// Argument structs of the kernels around the product of a layer: its digital ends, and its gradients
// (physics/input_range.hpp); the table is part of kernels.hpp.
#pragma once
#include "kernels_mvm.hpp"
#include "views.hpp"

namespace rpu {

/// Where the inputs of a layer lie. A line is what lies side by side in a contiguous array: a row of a matrix, or a channel
/// of an image.
struct Lines {
  int64_t number, length;
  int64_t group;  // lines of one image; 1: the elements of a line lie side by side, else those of the lines of a group
};

enum class InputForm : int32_t {
  kUnits,   // clip(x, -r, r) / r
  kHeld,    // clip(x, -r, r)
  kInside,  // x where |x| < r, else 0
};

/// Inputs in another form, one contiguous line after the other.
struct InputArgs {
  const float* x;
  Lines lines;
  InputForm form;
  float range;        // r, 0: x as it is
  const IoSpec* dac;  // of one that converts elements (ops/mvm.hpp), behind all that; or null
  float dac_scale;
  float* out;
  int64_t out_stride;  // from one line to the next
};

/// y = z gain + bias.
struct OutputArgs {
  ConstMatrix z;
  Matrix y;
  const float* gain;  // [outputs] or null: 1
  const float* bias;  // [outputs] or null: 0
};

/// Gradients of the outputs.
struct ErrorArgs {
  ConstMatrix d;
  const float* z;  // [samples, outputs] or null
  float bound;     // outputs z of at least this magnitude pass nothing; 0: none
  float* passed;   // [samples, outputs] what is passed, or null
};

/// C[rows][columns] = A B, in whole packs of columns.
struct MultiplyArgs {
  const float* a;
  int64_t a_stride, rows;
  const float* b;
  int64_t b_stride;
  bool b_transposed;
  int64_t depth;
  float* c;
  int64_t c_stride;
};

/// Adds what the taps of a kernel find at its positions to images [channels, pixels].
struct AddPatchesArgs {
  const float* c;  // [channels * taps][c_stride]: positions, in lines along the last axis
  int64_t c_stride;
  const int64_t* line_offset;  // [lines] pixel under the first position of a line
  int64_t lines, width, step;  // of the positions of a line, and the distance of their pixels
  const int64_t* tap_offset;   // [taps] in pixels
  int64_t taps, channels, pixels;
  float* images;
};

/// The gradient of the inputs where they lie, of one in contiguous lines.
struct InsideArgs {
  const float* gradient;  // may be `out` if the elements of lines lie side by side
  int64_t gradient_stride;
  const float* x;
  Lines lines;
  float range;  // only elements with |x| below it have a gradient; 0: all
  float* out;
};

struct LayerKernels {
  /// Returns the largest |x|, with infinity and NaN on top.
  float (*inputs)(const InputArgs&, Range lines);
  /// Returns the largest |z|.
  float (*outputs)(const OutputArgs&, Range rows);
  /// sums[0][column] of d and sums[1][column] of d z, over the rows.
  void (*errors)(const ErrorArgs&, Range rows, float* sums);
  /// out = w / scale, a row each.
  void (*divide_rows)(const ConstMatrix& w, const float* scale, bool one_scale, float* out, Range rows);
  /// The columns of B in a range that starts at a pack of C. Scratch as for `MvmKernels::product`.
  void (*multiply)(const MultiplyArgs&, Range columns, float* scratch);
  /// Returns the sum of gradient * x.
  double (*inside)(const InsideArgs&, Range lines);
  void (*add_patches)(const AddPatchesArgs&);
  /// out[i] += values[i]
  void (*add)(const float* values, int64_t n, float* out);
  /// Sum of a b over a row each.
  void (*row_dots)(const ConstMatrix& a, const float* b, Range rows, double* sums);
};

}  // namespace rpu
