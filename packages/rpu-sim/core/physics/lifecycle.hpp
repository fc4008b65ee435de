// What happens to a weight between updates. b = reset bias, delta = decay scale, rho = diffusion rate.
#pragma once
#include "cell.hpp"

RPU_BEGIN

/// w <- (w - b)(1 + alpha (delta - 1)) + b
RPU_FN F decayed(F w, F bias, F scale, float alpha) { return (w - bias) * (1.0f + alpha * (scale - 1.0f)) + bias; }

/// w <- w + rho xi
RPU_FN F diffused(F w, F rate, F xi) { return w + rate * xi; }

/// w <- b + sigma xi
RPU_FN F reset_value(F bias, float sigma, F xi) { return bias + sigma * xi; }

RPU_END
