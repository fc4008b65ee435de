// Loops over cells of the CPU, around the bodies of core/bodies.
#pragma once
#include "../rng.hpp"
#include "../views.hpp"

RPU_BEGIN

/// Calls body(row, quad) for all quads of some rows.
template <class Body> RPU_FN void over_quads(const Body& body, int64_t cols, Range rows) {
  for (int64_t row = rows.begin; row < rows.end; ++row)
    for_each_quad(row, cols, [&](const Quad& quad) { body(row, quad); });
}

/// The same for lines of samples: the index of a quad does not depend on the row.
template <class Body> RPU_FN void over_samples(const Body& body, int64_t cols, Range rows) {
  for (int64_t row = rows.begin; row < rows.end; ++row)
    for_each_quad(0, cols, [&](const Quad& quad) { body(row, quad); });
}

RPU_END
