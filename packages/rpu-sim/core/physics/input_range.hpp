// The digital ends of a layer's product z = W u with an input range r, mapping scales s and a bias b:
//
//   u = clip(x, -r, r) / r        y = z (r s) + b
//
// Their gradients, with e the gradient of y and W' the weights that were read:
//
//   dW = e^T clip(x, -r, r)       dx = (s e) W' where |x| < r, else 0       db = sum e
//   dr = sum_n e s z - (sum of dx x) / r
#pragma once
#include "../lane.hpp"

RPU_BEGIN

RPU_FN F held(F x, float range) { return clip(x, broadcast(-range), broadcast(range)); }

RPU_FN F in_units(F x, float range) { return held(x, range) / range; }

/// x where it lies inside of the range, else 0.
RPU_FN F inside(F x, F value, float range) { return select(abs_(x) < range, value, F{}); }

RPU_FN F digital_output(F z, F gain, F bias) { return z * gain + bias; }

RPU_END
