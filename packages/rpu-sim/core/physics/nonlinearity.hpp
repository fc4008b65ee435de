// Saturation of the output stage.
//
//   y_i <- F y_i / (1 + |nl_i y_i|)
//   F = (1 + (mean of nl_i + r_series) slope_calibration B)^2,  or 1 without calibration
//
// B is the bound of the ADC, 1 if there is none; nl_i is drawn once per output (output_constants.hpp). F restores the
// average slope at slope_calibration B, since the slope of y / (1 + a |y|) is 1 / (1 + a |y|)^2.
#pragma once
#include "../kernels_mvm.hpp"
#include "../lane.hpp"

RPU_BEGIN

RPU_FN F saturated(F y, F nl, float gain) { return gain * y / (1.0f + abs_(nl * y)); }

RPU_END
