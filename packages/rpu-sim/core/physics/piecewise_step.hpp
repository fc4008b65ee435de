// Piecewise step: the factor on the step is interpolated between K nodes v_0 .. v_{K-1} at equal distances from b_min to
// b_max.
//
//   t = (w - b_min) / (b_max - b_min) (K - 1),  i = min(floor(t), K - 2),  f = min(t - i, 1)
//   v(w) = (1 - f) v_i + f v_{i+1}
//   up    w <- w + s_up v_up(w) (1 + sigma xi)
//   down  w <- w - s_dn v_down(w) (1 + sigma xi)      both clipped to [b_min, b_max]
#pragma once
#include "nodes.hpp"
#include "pulse_law.hpp"

RPU_BEGIN

struct PiecewiseStep {
  using Params = params::PiecewiseStepDevice;
  struct Cell : RPU_LEVEL::Cell {
    F t_per_weight;
  };
  static constexpr int kExtraFields = 0;
  static constexpr bool kStateIndependent = false;
  static constexpr bool kKinks = true;

  float sigma;
  params::FloatList up_nodes, down_nodes;

  explicit PiecewiseStep(const Params& p) : sigma(p.dw_min_std), up_nodes(p.piecewise_up), down_nodes(p.piecewise_down) {}

  RPU_FN bool noisy() const { return sigma > 0.0f; }
  RPU_FN bool gaussian() const { return false; }

  template <class Read> RPU_FN Cell cell(const Read& read) const {
    const auto base = read_cell(read);
    const F range = base.b_max - base.b_min;
    const float intervals = static_cast<float>(up_nodes.size - 1);
    return {base, select(range > 0.0f, intervals / range, broadcast(0.0f))};
  }

  RPU_FN F factor(F w, M up, const Cell& c) const {
    if (up_nodes.size == 1) return select(up, broadcast(up_nodes.data[0]), broadcast(down_nodes.data[0]));
    const NodePosition at = node_position((w - c.b_min) * c.t_per_weight, up_nodes.size);
    return select(up, interpolated(up_nodes.data, up_nodes.size, at), interpolated(down_nodes.data, down_nodes.size, at));
  }

  RPU_FN F mean_step(F w, M up, const Cell& c) const { return select(up, c.s_up, -c.s_dn) * factor(w, up, c); }
  RPU_FN PulseLaw pulse_law(F w, M up, const Cell& c) const {
    const F s = select(up, c.s_up, -c.s_dn);
    if (up_nodes.size == 1) return proportional(s * factor(w, up, c), F{}, sigma);
    const NodePosition at = node_position((w - c.b_min) * c.t_per_weight, up_nodes.size);
    const auto node = [&](const I& i) {
      return select(up, lookup(up_nodes.data, up_nodes.size, i), lookup(down_nodes.data, down_nodes.size, i));
    };
    const F low = node(at.index), high = node(at.index + 1);
    const F change = s * ((1.0f - at.fraction) * low + at.fraction * high);
    return proportional(change, s * ((high - low) * c.t_per_weight), sigma);
  }
  RPU_FN F pulse(F w, M up, const Cell& c, F xi) const {
    return bounded(w + mean_step(w, up, c) * (1.0f + sigma * xi), c);
  }

  RPU_FN void moments(F&, F&, M, const Cell&) const {}

  template <class Draws> RPU_FN void extra_fields(const Params&, const F*, const Draws&, F*) const {}
};

RPU_END
