// Host logic of the matrix-vector product: noise management, samples in panels, rounds of bound management.
#pragma once
#include <vector>

#include "../kernels_mvm.hpp"
#include "windows.hpp"

namespace rpu {

struct Mvm {
  const IoSpec& io;
  ConstMatrix weights;     // [out, in]
  ConstMatrix input;       // [batch, in] forward, [batch, out] backward
  Matrix output;           // [batch, out] forward, [batch, in] backward
  MvmConstants constants;  // those that the io needs
  float* running_mean;     // one value, 0 before the first vector; only AVERAGE_ABS_MAX uses it
  bool freeze_mean;        // use the running mean without changing it
  uint64_t seed;
  uint32_t step, first_sample;
  bool alone = false;      // the calling thread shares no work
  bool converted = false;  // the input has passed the DAC already; see `converts_elements`
};

/// Whether the DAC does the same to every element, whatever its sample and place, and each sample is read once.
bool converts_elements(const IoSpec& io);

/// The factor on all inputs before such a DAC.
float element_scale(const IoSpec& io);

/// Computes the output; throws Error(NonFinite) before anything is written.
void mvm(const Mvm& call);

/// Products that have nothing to do with each other, such as those of a grid of tiles: the same as one call for each, with
/// the launches of one on a GPU. After an error outputs are arbitrary.
void mvm(const std::vector<Mvm>& calls);

/// The same for samples that are windows of larger arrays, of which every thread copies only those it works on;
/// `call.input` is not used. After an error the output is arbitrary.
void mvm(const Mvm& call, const Windows& windows);

/// weights <- weights - lr * d^T x, sample by sample; throws Error(NonFinite) before anything is written.
void rank_update(const Matrix& weights, const ConstMatrix& x, const ConstMatrix& d, float lr);

/// weights <- weights + factor * d^T x, sample by sample, whatever the numbers are.
void add_outer_products(const Matrix& weights, const ConstMatrix& x, const ConstMatrix& d, float factor);

/// Fills the arrays of constants that are drawn once per tile with weights of this shape.
void draw_constants(const IoSpec& io, const MvmConstants& out, int64_t rows, int64_t cols, uint64_t seed);

}  // namespace rpu
