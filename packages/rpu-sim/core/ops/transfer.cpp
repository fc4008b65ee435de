#include "transfer.hpp"

#include <algorithm>
#include <cmath>

namespace rpu {

bool take_steps(const BufferRule& rule, const BufferedSlice& s) {
  bool any = false;
  for (int64_t i = 0; i < s.n; ++i) {
    float value = s.read[i];
    if (s.past != nullptr) {
      if (s.starts_phase) s.past[i] = s.mean[i];
      value = value - s.past[i];
      s.mean[i] = (1.0f - rule.mean_weight) * s.mean[i] + rule.mean_weight * s.read[i];
    }
    const float gathered = (rule.keeps ? s.buffer[i] : 0.0f) + s.gain * (s.out_sign[i] * value);
    const float steps = std::clamp(std::trunc(gathered / rule.threshold), -rule.most_steps, rule.most_steps);
    float left = gathered;
    if (steps != 0.0f) left = rule.forgets ? rule.kept * gathered : gathered - ((1.0f - rule.kept) * steps) * rule.threshold;
    if (rule.cap > 0.0f) left = std::clamp(left, -rule.cap, rule.cap);
    s.buffer[i] = left;
    s.steps[i] = steps;
    any |= steps != 0.0f;
  }
  return any;
}

}  // namespace rpu
