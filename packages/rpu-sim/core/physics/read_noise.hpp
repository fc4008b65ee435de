// Read noise of the weights: a fresh sample of every weight for every vector, which only shows as Gaussian noise of
// each output.
//
//   ADDITIVE_CONSTANT  every weight has noise of the same size:        y_i += w_noise sqrt(sum_j x_j^2) xi_i
//   PCM_READ           noise grows with the root of the conductance:   y_i += w_noise sqrt(sum_j |w_ij| x_j^2) xi_i
#pragma once
#include "../kernels_mvm.hpp"
#include "../lane.hpp"

RPU_BEGIN

/// `power` is the sum under the root.
RPU_FN F read_noisy(F y, F power, F xi, const ArraySpec& array) { return y + array.w_noise * sqrt_(power) * xi; }

RPU_END
