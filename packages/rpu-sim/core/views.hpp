// Plain views of caller-owned arrays. Nothing here owns memory, and nothing here is a function: the header is shared by
// objects compiled for different instruction sets.
#pragma once
#include <stdint.h>

namespace rpu {

/// Row-major float32 matrix; the rows are contiguous.
struct Matrix {
  float* data;
  int64_t rows, cols;
  int64_t stride;  // elements from one row to the next
};

struct ConstMatrix {
  const float* data;
  int64_t rows, cols;
  int64_t stride;
};

/// A per-cell parameter, or one value that all cells share (then `stride` is 0 and `data` points at that value).
struct Field {
  float* data;
  int64_t stride;  // elements from one row to the next; 0: shared
};

/// Half-open range of rows (or lines, samples) that one task works on.
struct Range {
  int64_t begin, end;
};

}  // namespace rpu
