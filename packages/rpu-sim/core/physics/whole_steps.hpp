// Whole steps of a digital accumulator, which become pulses of the devices.
#pragma once
#include "../lane.hpp"

RPU_BEGIN

/// Takes whole steps, at most so many, out of elements of an accumulator, and returns them.
RPU_FN I take_whole_steps(F& chi, float threshold, float most) {
  const I steps = to_i(max_(broadcast(-most), min_(broadcast(most), chi / broadcast(threshold))));
  chi = chi - to_f(steps) * threshold;
  return steps;
}

RPU_END
