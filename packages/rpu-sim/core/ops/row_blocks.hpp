// Cuts the rows of an array into tasks of about 8192 cells: a function of the shape only.
#pragma once
#include <algorithm>

#include "../views.hpp"

namespace rpu {

class RowBlocks {
 public:
  RowBlocks(int64_t rows, int64_t cols)
      : rows_(rows), cols_(cols), per_task_(std::max<int64_t>(1, 8192 / std::max<int64_t>(1, cols))) {}

  int64_t count() const { return (rows_ + per_task_ - 1) / per_task_; }
  int64_t cells() const { return rows_ * cols_; }
  Range operator[](int64_t i) const { return {i * per_task_, std::min(rows_, (i + 1) * per_task_)}; }

 private:
  int64_t rows_, cols_, per_task_;
};

}  // namespace rpu
