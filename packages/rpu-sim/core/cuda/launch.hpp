// Loops of the CUDA plugin: a body per quad of cells, per item, or per block of threads with barriers between its
// phases.
//
// Compiled by nvcc they are kernels on a stream. Compiled as C++ (RPU_EMULATED) the same bodies run one after the other
// on the host, so that a machine without a GPU tests all of the plugin but the launch itself.
#pragma once
#include "../c_api.h"
#include "../rng.hpp"

#if defined(__CUDACC__)
#  include <cuda_runtime.h>
#else
#  include <cstring>
#  include <memory>
#endif

RPU_BEGIN

constexpr int kThreads = 256;  // of a block

#if defined(__CUDACC__)

using Stream_t = cudaStream_t;

template <class Body> __global__ void __launch_bounds__(kThreads) item_kernel(const Body body, int64_t n) {
  for (int64_t i = blockIdx.x * static_cast<int64_t>(kThreads) + threadIdx.x; i < n;
       i += gridDim.x * static_cast<int64_t>(kThreads))
    body(i);
}

template <class Body>
__global__ void __launch_bounds__(kThreads) quad_kernel(const Body body, int64_t rows, int64_t cols, int64_t indices) {
  const int64_t at = blockIdx.x * static_cast<int64_t>(blockDim.x) + threadIdx.x;
  const int64_t col = at / kGroupCalls * kGroup + at % kGroupCalls;
  if (col >= cols) return;
  const int64_t step = gridDim.y * static_cast<int64_t>(blockDim.y);
  for (int64_t row = blockIdx.y * static_cast<int64_t>(blockDim.y) + threadIdx.y; row < rows; row += step)
    body(row, Quad{static_cast<uint32_t>(row * indices + at), col});
}

/// Threads of a block that take turns: phase(f) calls f(thread, registers) in all of them and waits until all are done.
template <class Registers> struct Block {
  int64_t x, y;
  Registers mine;

  template <class F_> __device__ __forceinline__ void phase(F_&& f) {
    f(static_cast<int>(threadIdx.x), mine);
    __syncthreads();
  }
};

template <class Body> __global__ void __launch_bounds__(kThreads) block_kernel(const Body body) {
  __shared__ typename Body::Shared shared;
  Block<typename Body::Registers> block{static_cast<int64_t>(blockIdx.x), static_cast<int64_t>(blockIdx.y), {}};
  body(block, shared);
}

template <class Body> void over_items(Stream_t stream, int64_t n, const Body& body) {
  const int64_t blocks = (n + kThreads - 1) / kThreads;
  if (n > 0) item_kernel<<<static_cast<unsigned>(blocks < 1 << 20 ? blocks : 1 << 20), kThreads, 0, stream>>>(body, n);
}

/// All quads of a matrix; the index of a quad counts on from row to row by `indices`.
template <class Body>
void over_quads_of(Stream_t stream, int64_t rows, int64_t cols, int64_t indices, const Body& body) {
  if (rows <= 0 || cols <= 0) return;
  const int64_t per_row = groups(cols) * kGroupCalls;
  unsigned wide = kGroupCalls;
  while (wide < kThreads && wide < per_row) wide *= 2;
  const dim3 threads(wide, kThreads / wide);
  const int64_t high = (rows + threads.y - 1) / threads.y;
  const dim3 blocks(static_cast<unsigned>((per_row + wide - 1) / wide), static_cast<unsigned>(high < 65535 ? high : 65535));
  quad_kernel<<<blocks, threads, 0, stream>>>(body, rows, cols, indices);
}

template <class Body> void over_blocks(Stream_t stream, int64_t across, int64_t down, const Body& body) {
  if (across <= 0 || down <= 0) return;
  block_kernel<<<dim3(static_cast<unsigned>(across), static_cast<unsigned>(down)), kThreads, 0, stream>>>(body);
}

inline void zero(Stream_t stream, void* p, int64_t bytes) {
  if (bytes > 0) cudaMemsetAsync(p, 0, static_cast<size_t>(bytes), stream);
}

#  define RPU_DEVICE_FN __device__ __forceinline__
RPU_DEVICE_FN void atomic_or(uint32_t* p, uint32_t v) { atomicOr(p, v); }
RPU_DEVICE_FN void atomic_max(uint32_t* p, uint32_t v) { atomicMax(p, v); }
RPU_DEVICE_FN int32_t atomic_next(int32_t* p) { return atomicAdd(p, 1); }
/// Adds the numbers of all threads that come here together: one memory operation per warp.
RPU_DEVICE_FN void atomic_sum(int64_t* p, uint32_t v) {
  const unsigned together = __activemask();
  const unsigned sum = __reduce_add_sync(together, v);
  if (static_cast<int>(threadIdx.y * blockDim.x + threadIdx.x) % 32 == __ffs(static_cast<int>(together)) - 1 && sum != 0)
    atomicAdd(reinterpret_cast<unsigned long long*>(p), static_cast<unsigned long long>(sum));
}

#else

using Stream_t = void*;

template <class Registers> struct Block {
  int64_t x, y;
  Registers all[kThreads];

  template <class F_> void phase(F_&& f) {
    for (int thread = 0; thread < kThreads; ++thread) f(thread, all[thread]);
  }
};

template <class Body> void over_items(Stream_t, int64_t n, const Body& body) {
  for (int64_t i = 0; i < n; ++i) body(i);
}

template <class Body> void over_quads_of(Stream_t, int64_t rows, int64_t cols, int64_t indices, const Body& body) {
  const int64_t per_row = groups(cols) * kGroupCalls;
  for (int64_t row = 0; row < rows; ++row)
    for (int64_t at = 0; at < per_row; ++at) {
      const int64_t col = at / kGroupCalls * kGroup + at % kGroupCalls;
      if (col < cols) body(row, Quad{static_cast<uint32_t>(row * indices + at), col});
    }
}

template <class Body> void over_blocks(Stream_t, int64_t across, int64_t down, const Body& body) {
  const auto shared = std::make_unique<typename Body::Shared>();
  const auto block = std::make_unique<Block<typename Body::Registers>>();
  for (block->y = 0; block->y < down; ++block->y)
    for (block->x = 0; block->x < across; ++block->x) body(*block, *shared);
}

inline void zero(Stream_t, void* p, int64_t bytes) { std::memset(p, 0, static_cast<size_t>(bytes)); }

#  define RPU_DEVICE_FN inline
RPU_DEVICE_FN void atomic_or(uint32_t* p, uint32_t v) { *p |= v; }
RPU_DEVICE_FN void atomic_max(uint32_t* p, uint32_t v) { *p = v > *p ? v : *p; }
RPU_DEVICE_FN int32_t atomic_next(int32_t* p) { return (*p)++; }
RPU_DEVICE_FN void atomic_sum(int64_t* p, uint32_t v) { *p += v; }

#endif

/// Cells of an array: a quad for every row.
template <class Body> void over_quads(Stream_t stream, int64_t rows, int64_t cols, const Body& body) {
  over_quads_of(stream, rows, cols, groups(cols) * kGroupCalls, body);
}

/// Lines of samples: the numbers of a quad are the same in all rows, and a sample is told apart by its own number.
template <class Body> void over_samples(Stream_t stream, int64_t rows, int64_t cols, const Body& body) {
  over_quads_of(stream, rows, cols, 0, body);
}

RPU_END
