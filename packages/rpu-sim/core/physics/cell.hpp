// What all pulsed devices share at a crosspoint, and how their parameters are read.
#pragma once
#include "../fields.hpp"
#include "../rng.hpp"

RPU_BEGIN

/// Bounds and nominal step sizes of one cell.
struct Cell {
  F b_max, b_min;  // upper and lower bound
  F s_up, s_dn;    // mean up and down step at weight 0
};

RPU_FN F bounded(F w, const Cell& c) { return clip(w, c.b_min, c.b_max); }

/// Reads per-cell parameters of a pack of neighbouring columns.
struct PackReader {
  const CellFields& cells;
  int64_t row, col, n;

  RPU_FN F operator()(int field) const {
    const Field& f = cells.field[field];
    return f.stride == 0 ? broadcast(*f.data) : load(f.data + row * f.stride + col, n);
  }
  /// A bound as the weight sees it.
  RPU_FN F bound(int field) const {
    const F raw = (*this)(field);
    return cells.reference < 0 ? raw : raw - (*this)(cells.reference);
  }
};

/// Reads per-cell parameters of a pack of scattered columns.
struct GatherReader {
  const CellFields& cells;
  int64_t row;
  I columns;

  RPU_FN F operator()(int field) const {
    const Field& f = cells.field[field];
    return f.stride == 0 ? broadcast(*f.data) : gather(f.data + row * f.stride, columns);
  }
};

/// The noise of four pulses from four random words: standard normals, unless a device has an overload of its own.
template <class Device> RPU_FN void cycle_noise(const Device&, const U words[4], F xi[4]) { normal4(words, xi); }

template <class Read> RPU_FN Cell read_cell(const Read& read) {
  return {read(kMaxBound), read(kMinBound), read(kStepUp), read(kStepDown)};
}

RPU_END
