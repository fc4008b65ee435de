// Matrix product in the order of the CPU, so that both give the same bits (cpu/gemm.hpp): every element is the sum of
// 16 chains of fused multiply-adds, or one chain. A block of 16 x 16 threads computes 64 columns; thread tx has the
// columns tx, tx + 16, tx + 32, tx + 48 of kRows rows, which is the quad of cells that shares random numbers: what
// follows the product is done while its results are in registers. So are all of its chains: a tile has a row of B for
// each.
#pragma once
#include "../kernels_mvm.hpp"
#include "launch.hpp"

RPU_BEGIN

/// A matrix as the product reads it: element (i, j) is data[i * stride + j], or data[j * stride + i] when transposed.
struct Factor {
  const float* data;
  int64_t stride;
  bool transposed;
  bool magnitude;  // its absolute value

  RPU_FN float at(int64_t i, int64_t j) const {
    const float v = transposed ? data[j * stride + i] : data[i * stride + j];
    return magnitude ? abs_(v) : v;
  }
};

/// C[m][n] = sum_k A[m][k] B[k][n] with kSums chains per element. `Finish` gives start(row, quad, sums), where a single
/// chain begins, and takes (row, quad, sums).
template <int kRows, int kSums, class Finish> struct Product {
  Factor a, b;
  int64_t depth, columns;
  int64_t most_rows;
  const int32_t* rows;  // how many there are, at most most_rows; null: all
  Finish finish;

  static constexpr int kDepth = kChains, kHeight = 16 * kRows;
  struct Shared {
    float a[kDepth][kHeight + 4], b[kDepth][kGroup + 4];  // the padding spreads columns over the banks
  };
  struct Registers {
    float sum[kRows][4][kSums];
    float total[kRows][4];
  };

  RPU_FN int64_t rows_down() const { return (most_rows + kHeight - 1) / kHeight; }

  RPU_DEVICE_FN void operator()(Block<Registers>& block, Shared& shared) const {
    const int64_t n_rows = rows != nullptr ? *rows : most_rows, first = block.y * kHeight;
    if (first >= n_rows) return;
    block.phase([&](int thread, Registers& own) {
      const Quad quad = quad_of(block.x, thread);
      RPU_UNROLL
      for (int r = 0; r < kRows; ++r) {
        const int64_t row = first + thread / 16 * kRows + r;
        RPU_UNROLL
        for (int c = 0; c < 4; ++c) own.total[r][c] = 0.0f;
        if (row < n_rows && quad.col < columns) finish.start(row, quad, own.total[r]);
        RPU_UNROLL
        for (int c = 0; c < 4; ++c) {
          RPU_UNROLL
          for (int p = 0; p < kSums; ++p) own.sum[r][c][p] = kSums == 1 ? own.total[r][c] : 0.0f;
        }
      }
    });
    for (int64_t k = 0; k < depth; k += kDepth) {
      block.phase([&](int thread, Registers&) {
        load_a(shared, thread, first, n_rows, k);
        load_b(shared, thread, block.x * kGroup, k);
      });
      const int steps = static_cast<int>(depth - k < kDepth ? depth - k : kDepth);
      block.phase([&](int thread, Registers& own) {
        multiply(shared, thread, steps, own);
        const int64_t behind = k + steps, chunk = k / kChunk * kChunk;
        if (behind == depth || behind % kChunk == 0) add_chains(behind - chunk < kSums ? behind - chunk : kSums, own);
      });
    }
    block.phase([&](int thread, Registers& own) {
      const Quad quad = quad_of(block.x, thread);
      RPU_UNROLL
      for (int r = 0; r < kRows; ++r) {
        const int64_t row = first + thread / 16 * kRows + r;
        if (row < n_rows && quad.col < columns) finish(row, quad, own.total[r]);
      }
    });
  }

 private:
  RPU_FN static Quad quad_of(int64_t group, int thread) {
    return {static_cast<uint32_t>(group * kGroupCalls + thread % 16), group * kGroup + thread % 16};
  }

  /// Neighbouring threads read neighbouring elements.
  RPU_FN void load_a(Shared& shared, int thread, int64_t first, int64_t n_rows, int64_t k) const {
    for (int i = thread; i < kHeight * kDepth; i += kThreads) {
      const int row = a.transposed ? i % kHeight : i / kDepth, at = a.transposed ? i / kHeight : i % kDepth;
      shared.a[at][row] = first + row < n_rows && k + at < depth ? a.at(first + row, k + at) : 0.0f;
    }
  }
  RPU_FN void load_b(Shared& shared, int thread, int64_t first, int64_t k) const {
    for (int i = thread; i < kGroup * kDepth; i += kThreads) {
      const int col = b.transposed ? i / kDepth : i % kGroup, at = b.transposed ? i % kDepth : i / kGroup;
      shared.b[at][col] = first + col < columns && k + at < depth ? b.at(k + at, first + col) : 0.0f;
    }
  }

  RPU_FN static void multiply(const Shared& shared, int thread, int steps, Registers& own) {
    if (steps == kDepth) {
      RPU_UNROLL
      for (int k = 0; k < kDepth; ++k) step(shared, thread, k, own);
    } else {  // not one step more: adding 0 would change the sign of a -0
      RPU_UNROLL
      for (int k = 0; k < kDepth; ++k)
        if (k < steps) step(shared, thread, k, own);
    }
  }

  /// At the end of a chunk; a single chain goes on.
  RPU_FN static void add_chains(int64_t number, Registers& own) {
    RPU_UNROLL
    for (int r = 0; r < kRows; ++r) {
      RPU_UNROLL
      for (int c = 0; c < 4; ++c) {
        if (kSums == 1) own.total[r][c] = own.sum[r][c][0];
        RPU_UNROLL
        for (int p = 0; p < kSums && kSums > 1; ++p) {
          if (p < number) own.total[r][c] = own.total[r][c] + own.sum[r][c][p];
          own.sum[r][c][p] = 0.0f;
        }
      }
    }
  }
  RPU_FN static void step(const Shared& shared, int thread, int k, Registers& own) {
    float column[4];
    RPU_UNROLL
    for (int c = 0; c < 4; ++c) column[c] = shared.b[k][thread % 16 + 16 * c];
    RPU_UNROLL
    for (int r = 0; r < kRows; ++r) {
      const float value = shared.a[k][thread / 16 * kRows + r];
      RPU_UNROLL
      for (int c = 0; c < 4; ++c) {
        float& sum = own.sum[r][c][k % kSums];
        sum = fma_(value, column[c], sum);
      }
    }
  }
};

/// One kernel for each class of shapes: as many rows per thread as there are samples and registers for.
template <class Finish>
void multiply(Stream_t stream, const Factor& a, const Factor& b, int64_t rows, const int32_t* counted, int64_t columns,
              int64_t depth, const Finish& finish) {
  const auto run = [&](const auto& product) { over_blocks(stream, groups(columns), product.rows_down(), product); };
  const bool chains = !Finish::kContinues && depth >= kWorthChains;
  if (chains && rows <= 16) run(Product<1, kChains, Finish>{a, b, depth, columns, rows, counted, finish});
  else if (chains) run(Product<2, kChains, Finish>{a, b, depth, columns, rows, counted, finish});
  else if (rows <= 16) run(Product<1, 1, Finish>{a, b, depth, columns, rows, counted, finish});
  else run(Product<8, 1, Finish>{a, b, depth, columns, rows, counted, finish});
}

/// Stores the product, [rows][stride], in whole quads: what follows reads those behind the last column as well.
struct StoreProduct {
  static constexpr bool kContinues = false;
  float* out;
  int64_t stride;  // a multiple of 64

  RPU_FN void start(int64_t, const Quad&, float*) const {}
  RPU_FN void operator()(int64_t row, const Quad& quad, const float* y) const {
    for (int k = 0; k < 4; ++k) out[row * stride + quad.column(k)] = y[k];
  }
};

/// Continues the chain of what is there.
struct AddProduct {
  static constexpr bool kContinues = true;
  Matrix out;

  RPU_FN void start(int64_t row, const Quad& quad, float* y) const {
    for (int k = 0; k < 4; ++k)
      if (quad.column(k) < out.cols) y[k] = out.data[row * out.stride + quad.column(k)];
  }
  RPU_FN void operator()(int64_t row, const Quad& quad, const float* y) const {
    for (int k = 0; k < 4; ++k)
      if (quad.column(k) < out.cols) out.data[row * out.stride + quad.column(k)] = y[k];
  }
};

RPU_END
