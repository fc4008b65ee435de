// Sums of overlapping windows, by the elements of the array: each gathers what windows add to it, in the order of the rows,
// so that no two threads write to one place. The CPU adds window after window instead (ops/windows.hpp).
#pragma once
#include <algorithm>
#include <numeric>
#include <utility>

#include "windows.hpp"

namespace rpu {

/// The array of some windows by coordinates that do not depend on each other. Along each of them runs one axis of the
/// windows, or an outer and an inner one, such as the positions and the taps of a kernel.
struct Overlaps {
  static constexpr int kMostPairs = 3;

  struct Coordinate {
    int64_t size, stride;                  // in the array
    int64_t outer, inner;                  // sizes of the axes
    int64_t outer_step, inner_step;        // of the coordinate, without a common divisor
    int64_t inverse;                       // of outer_step modulo inner_step
    int64_t outer_in_rows, inner_in_rows;  // strides in the rows
    int32_t pair;                          // among those with two axes, in the order of the outer ones; -1: it has one
  };

  int32_t n;
  Coordinate coordinate[kMostAxes];  // the smallest stride first

  int64_t places() const {
    int64_t size = 1;
    for (int k = 0; k < n; ++k) size *= coordinate[k].size;
    return size;
  }
};

/// Adds to place number i of the array what windows have there.
RPU_BOTH void add_windows_at(const Overlaps& overlaps, const float* rows, int64_t i, float* data) {
  int64_t at = 0, place = 0, n[Overlaps::kMostPairs] = {1, 1, 1}, step[Overlaps::kMostPairs] = {0, 0, 0};
  for (int k = 0; k < overlaps.n; ++k) {
    const Overlaps::Coordinate& c = overlaps.coordinate[k];
    const int64_t x = i % c.size;
    i /= c.size;
    place += x * c.stride;
    if (c.pair < 0) {
      at += x * c.outer_in_rows;
      continue;
    }
    // Position p sees x where x - p * outer_step is the place of a tap, which every inner_step-th position has.
    const int64_t beyond = x - (c.inner - 1) * c.inner_step, highest = x / c.outer_step;
    const int64_t last = highest < c.outer ? highest : c.outer - 1;
    const int64_t matching = x % c.inner_step * c.inverse % c.inner_step;
    int64_t p = beyond > 0 ? (beyond + c.outer_step - 1) / c.outer_step : 0;
    p += (matching - p % c.inner_step + c.inner_step) % c.inner_step;
    if (p > last) return;
    n[c.pair] = (last - p) / c.inner_step + 1;
    step[c.pair] = c.inner_step * c.outer_in_rows - c.outer_step * c.inner_in_rows;
    at += p * c.outer_in_rows + (x - p * c.outer_step) / c.inner_step * c.inner_in_rows;
  }
  float sum = data[place];
  for (int64_t a = 0; a < n[0]; ++a)
    for (int64_t b = 0; b < n[1]; ++b)
      for (int64_t c = 0; c < n[2]; ++c) sum += rows[at + a * step[0] + b * step[1] + c * step[2]];
  data[place] = sum;
}

// -- on the host -------------------------------------------------------------------------------------------------------

/// The inverse of a modulo m, which have no common divisor.
inline int64_t inverse_modulo(int64_t a, int64_t m) {
  int64_t rest = m, next_rest = a % m, found = 0, next = 1;
  while (next_rest != 0) {
    const int64_t quotient = rest / next_rest;
    rest = std::exchange(next_rest, rest - quotient * next_rest);
    found = std::exchange(next, found - quotient * next);
  }
  return (found % m + m) % m;
}

/// The coordinate that one axis of the windows runs along, or two.
inline Overlaps::Coordinate coordinate_of(const WindowAxes& axes, const int64_t* in_rows, int outer, int inner) {
  const int64_t so = axes.stride[outer], si = axes.stride[inner], stride = std::gcd(so, si);
  if (outer == inner) return {axes.shape[outer], stride, axes.shape[outer], 1, 1, 1, 0, in_rows[outer], 0, -1};
  const int64_t step = so / stride, tap = si / stride;
  const int64_t size = (axes.shape[outer] - 1) * step + (axes.shape[inner] - 1) * tap + 1;
  return {size, stride, axes.shape[outer], axes.shape[inner], step, tap, inverse_modulo(step, tap), in_rows[outer],
          in_rows[inner], 0};
}

/// Finds the coordinates; false where windows overlap in another way.
inline bool find_overlaps(const WindowAxes& axes, Overlaps* found) {
  int axis_of[kMostAxes], outer_of[kMostAxes], n = 0, pairs = 0;
  int64_t in_rows[kMostAxes], common[kMostAxes], size = 1, extent = 1;
  for (int axis = axes.n - 1; axis >= 0; size *= axes.shape[axis--]) in_rows[axis] = size;
  for (int axis = 0; axis < axes.n; ++axis)
    if (axes.shape[axis] > 1) axis_of[n++] = axis;
  std::stable_sort(axis_of, axis_of + n, [&](int a, int b) { return axes.stride[a] < axes.stride[b]; });
  for (int k = n - 1; k >= 0; --k) common[k] = std::gcd(k + 1 < n ? common[k + 1] : 0, axes.stride[axis_of[k]]);

  found->n = 0;
  for (int begin = 0, end = 0; begin < n; begin = end) {
    if (axes.stride[axis_of[begin]] == 0) return false;
    // A coordinate ends where all further strides are multiples of something larger than what was spanned so far.
    do extent += (axes.shape[axis_of[end]] - 1) * axes.stride[axis_of[end]];
    while (++end < n && common[end] < extent);
    const auto [outer, inner] = std::minmax(axis_of[begin], axis_of[end - 1]);
    Overlaps::Coordinate& c = found->coordinate[found->n] = coordinate_of(axes, in_rows, outer, inner);
    constexpr int64_t kMostStep = int64_t{1} << 31;  // squares must fit into 64 bits
    if (end - begin > 2 || c.inner_step > kMostStep) return false;
    outer_of[found->n++] = outer;
    pairs += c.pair + 1;
  }
  if (pairs > Overlaps::kMostPairs) return false;
  for (int k = 0; k < found->n; ++k)
    for (int other = 0; found->coordinate[k].pair >= 0 && other < found->n; ++other)
      found->coordinate[k].pair += found->coordinate[other].pair >= 0 && outer_of[other] < outer_of[k];
  return true;
}

}  // namespace rpu
