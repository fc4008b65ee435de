// Argument structs of the kernels on a weight matrix (modified copies, clipping, remapping); the table is part of
// kernels.hpp.
#pragma once
#include "kernels_mvm.hpp"
#include "params.gen.hpp"
#include "views.hpp"

namespace rpu {

/// A modified copy of a weight matrix.
struct ModifyArgs {
  const params::WeightModifierParameter* parameters;
  const float* noise;  // polynomial of the noise in |w| / A, constant first, in units of A
  int n_noise;
  float log_time;      // ln(t / t0) of the drift; 0 is none
  float read_noise;    // factor on the read noise of phase-change memory
  float a_max;         // A
  Converter grid;      // of the types that discretise; its bound is not used
  ConstMatrix source;
  Matrix out;
  uint64_t seed;
  uint32_t step, sample;
};

/// w * numerator / denominator of each row, rounded once.
struct RescaleArgs {
  ConstMatrix source;
  Matrix out;
  const double *numerator, *denominator;
};

struct WeightKernels {
  void (*modify)(const ModifyArgs&, Range rows);
  void (*clip)(const ConstMatrix& source, const Matrix& out, float bound, Range rows);
  void (*rescale)(const RescaleArgs&, Range rows);
  /// Sum of (w - mean)^power of each row, power 1 or 2, in an order that does not depend on the level.
  void (*row_sums)(const ConstMatrix& source, double mean, int power, Range rows, double* sums);
};

}  // namespace rpu
