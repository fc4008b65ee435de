// Table step: the step of a pulse is drawn from a measured distribution that depends on the weight.
//
// Each of two tables, one for up and one for down pulses, has a row for each of R bins of equal width between b_min and
// b_max, and in each row the quantiles of the step at Q equidistant probabilities from 0 to 1, signed and in units of
// dw_min. With u uniform in [0, 1)
//
//   r = (w - b_min) / (b_max - b_min) R - 1/2     position between the centres of the bins, limited to [0, R - 1]
//   q = u (Q - 1)                                 position between the quantiles
//   up    w <- w + s_up T_up(r, q)
//   down  w <- w + s_dn T_down(r, q)              both clipped to [b_min, b_max]
//
// T is interpolated linearly in r and q. s_up and s_dn, in units of dw_min, are the gains of the cell.
#pragma once
#include "nodes.hpp"

RPU_BEGIN

struct TableStep {
  using Params = params::TableStepDevice;
  struct Cell : RPU_LEVEL::Cell {
    F rows_per_weight;
  };
  static constexpr int kExtraFields = 0;
  static constexpr bool kStateIndependent = false;

  const float *up_table, *down_table;
  int32_t rows, columns;

  explicit TableStep(const Params& p)
      : up_table(p.step_up.data), down_table(p.step_down.data), rows(p.step_up.rows), columns(p.step_up.size / p.step_up.rows) {}

  RPU_FN bool noisy() const { return true; }
  RPU_FN bool gaussian() const { return false; }

  template <class Read> RPU_FN Cell cell(const Read& read) const {
    const auto base = read_cell(read);
    const F range = base.b_max - base.b_min;
    return {base, select(range > 0.0f, static_cast<float>(rows) / range, broadcast(0.0f))};
  }

  RPU_FN F quantile(const float* table, const NodePosition& row, const NodePosition& column) const {
    const F low = interpolated(table, rows * columns, {row.index * columns + column.index, column.fraction});
    if (rows == 1) return low;
    const F high = interpolated(table, rows * columns, {(row.index + 1) * columns + column.index, column.fraction});
    return (1.0f - row.fraction) * low + row.fraction * high;
  }

  RPU_FN NodePosition row_at(F w, const Cell& c) const {
    return node_position((w - c.b_min) * c.rows_per_weight - 0.5f, rows);
  }

  /// Mean over u: the trapezoidal rule is exact, because T is linear between the quantiles.
  RPU_FN F mean(const float* table, const NodePosition& row) const {
    F sum{};
    for (int32_t j = 0; j + 1 < columns; ++j) sum = sum + quantile(table, row, {I{} + j, broadcast(0.5f)});
    return sum / static_cast<float>(columns - 1);
  }

  RPU_FN F mean_step(F w, M up, const Cell& c) const {
    const NodePosition row = row_at(w, c);
    return select(up, c.s_up * mean(up_table, row), c.s_dn * mean(down_table, row));
  }

  RPU_FN F pulse(F w, M up, const Cell& c, F u) const {
    const NodePosition row = row_at(w, c);
    const NodePosition column = node_position(u * static_cast<float>(columns - 1), columns);
    const F rise = c.s_up * quantile(up_table, row, column), fall = c.s_dn * quantile(down_table, row, column);
    return bounded(w + select(up, rise, fall), c);
  }

  RPU_FN void moments(F&, F&, M, const Cell&) const {}

  template <class Draws> RPU_FN void extra_fields(const Params&, const F*, const Draws&, F*) const {}
};

/// The noise of four pulses is uniform: it picks the quantile.
RPU_FN void cycle_noise(const TableStep&, const U words[4], F u[4]) {
  for (int k = 0; k < 4; ++k) u[k] = uniform(words[k]);
}

RPU_END
