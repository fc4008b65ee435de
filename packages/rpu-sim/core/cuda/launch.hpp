// Loops of the CUDA plugin: a body per quad of cells, per item, or per block of threads with barriers between its
// phases.
//
// Compiled by nvcc they are kernels on a stream. Compiled as C++ (RPU_EMULATED) the same bodies run one after the other
// on the host, so that a machine without a GPU tests all of the plugin but the launch itself.
//
// A loop says how many threads there are, and what one of them does with the body. Loops of one kind with bodies of one
// kind may be launched together (recording.hpp), each in a layer of its own of the grid. Bodies travel as parameters of
// the kernel: nothing is copied to the GPU beforehand, and a stream can be captured.
#pragma once
#include "../c_api.h"
#include "../rng.hpp"
#include "recording.hpp"

#if !defined(__CUDACC__)
#  include <cstring>
#endif

RPU_BEGIN

constexpr int kThreads = 256;  // of a block

#if defined(__CUDACC__)

#  define RPU_DEVICE_FN __device__ __forceinline__

/// The size of a launch: it must be enough for all loops of it.
struct Extent {
  int64_t across, down, wide;  // blocks, and threads along the first axis of a block

  static constexpr int64_t kMostDown = 65535;  // of a grid; a GPU takes 2^31 - 1 across
  void include(const Extent& other) {
    across = other.across > across ? other.across : across;
    down = other.down > down ? other.down : down;
    wide = other.wide > wide ? other.wide : wide;
  }
  dim3 threads() const { return dim3(static_cast<unsigned>(wide), static_cast<unsigned>(kThreads / wide)); }
  dim3 blocks(int64_t layers) const {
    return dim3(static_cast<unsigned>(across), static_cast<unsigned>(down), static_cast<unsigned>(layers));
  }
};

/// One thread per item.
struct Items {
  int64_t n;

  bool empty() const { return n <= 0; }
  Extent extent() const {
    const int64_t blocks = (n + kThreads - 1) / kThreads;
    return {blocks < 1 << 20 ? blocks : 1 << 20, 1, kThreads};
  }
  template <class Body> RPU_DEVICE_FN void run(const Body& body) const {
    for (int64_t i = blockIdx.x * static_cast<int64_t>(kThreads) + threadIdx.x; i < n;
         i += gridDim.x * static_cast<int64_t>(kThreads))
      body(i);
  }
};

/// One thread per quad of a matrix; the index of a quad counts on from row to row by `indices`.
struct Quads {
  int64_t rows, cols, indices;

  bool empty() const { return rows <= 0 || cols <= 0; }
  Extent extent() const {
    const int64_t per_row = groups(cols) * kGroupCalls;
    int64_t wide = kGroupCalls;
    while (wide < kThreads && wide < per_row) wide *= 2;
    return {(per_row + wide - 1) / wide, rows_of_blocks(kThreads / wide), wide};
  }
  template <class Body> RPU_DEVICE_FN void run(const Body& body) const {
    const int64_t at = blockIdx.x * static_cast<int64_t>(blockDim.x) + threadIdx.x;
    const int64_t col = at / kGroupCalls * kGroup + at % kGroupCalls;
    if (col >= cols) return;
    const int64_t step = gridDim.y * static_cast<int64_t>(blockDim.y);
    for (int64_t row = blockIdx.y * static_cast<int64_t>(blockDim.y) + threadIdx.y; row < rows; row += step)
      body(row, Quad{static_cast<uint32_t>(row * indices + at), col});
  }

 private:
  int64_t rows_of_blocks(int64_t high) const {
    const int64_t blocks = (rows + high - 1) / high;
    return blocks < Extent::kMostDown ? blocks : Extent::kMostDown;
  }
};

/// Threads of a block that take turns: phase(f) calls f(thread, registers) in all of them and waits until all are done.
template <class Registers> struct Block {
  int64_t x, y;
  Registers mine;

  template <class F_> __device__ __forceinline__ void phase(F_&& f) {
    f(static_cast<int>(threadIdx.x), mine);
    __syncthreads();
  }
};

/// Blocks of threads with shared memory.
struct Blocks {
  int64_t across, down;

  bool empty() const { return across <= 0 || down <= 0; }
  Extent extent() const { return {across, down < Extent::kMostDown ? down : Extent::kMostDown, kThreads}; }
  template <class Body> RPU_DEVICE_FN void run(const Body& body) const {
    if (blockIdx.x >= across) return;  // of a larger loop in the same launch
    __shared__ typename Body::Shared shared;
    for (int64_t y = blockIdx.y; y < down; y += gridDim.y) {
      Block<typename Body::Registers> block{static_cast<int64_t>(blockIdx.x), y, {}};
      body(block, shared);
    }
  }
};

template <class Loop, class Body>
__global__ void __launch_bounds__(kThreads) loop_kernel(const Loop loop, const Body body) {
  loop.run(body);
}

template <class Loop, class Body> void launch(Queue queue, const Loop& loop, const Body& body) {
  const Extent extent = loop.extent();
  loop_kernel<<<extent.blocks(1), extent.threads(), 0, queue>>>(loop, body);
}

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

#  define RPU_DEVICE_FN inline

struct Items {
  int64_t n;

  bool empty() const { return n <= 0; }
  template <class Body> void run(const Body& body) const {
    for (int64_t i = 0; i < n; ++i) body(i);
  }
};

struct Quads {
  int64_t rows, cols, indices;

  bool empty() const { return rows <= 0 || cols <= 0; }
  template <class Body> void run(const Body& body) const {
    const int64_t per_row = groups(cols) * kGroupCalls;
    for (int64_t row = 0; row < rows; ++row)
      for (int64_t at = 0; at < per_row; ++at) {
        const int64_t col = at / kGroupCalls * kGroup + at % kGroupCalls;
        if (col < cols) body(row, Quad{static_cast<uint32_t>(row * indices + at), col});
      }
  }
};

template <class Registers> struct Block {
  int64_t x, y;
  Registers all[kThreads];

  template <class F_> void phase(F_&& f) {
    for (int thread = 0; thread < kThreads; ++thread) f(thread, all[thread]);
  }
};

struct Blocks {
  int64_t across, down;

  bool empty() const { return across <= 0 || down <= 0; }
  template <class Body> void run(const Body& body) const {
    const auto shared = std::make_unique<typename Body::Shared>();
    const auto block = std::make_unique<Block<typename Body::Registers>>();
    for (block->y = 0; block->y < down; ++block->y)
      for (block->x = 0; block->x < across; ++block->x) body(*block, *shared);
  }
};

template <class Loop, class Body> void launch(Queue, const Loop& loop, const Body& body) {
  ++rpu_emulated_launches;
  loop.run(body);
}

RPU_DEVICE_FN void atomic_or(uint32_t* p, uint32_t v) { *p |= v; }
RPU_DEVICE_FN void atomic_max(uint32_t* p, uint32_t v) { *p = v > *p ? v : *p; }
RPU_DEVICE_FN int32_t atomic_next(int32_t* p) { return (*p)++; }
RPU_DEVICE_FN void atomic_sum(int64_t* p, uint32_t v) { *p += v; }

#endif

template <class Loop, class Body> struct Work {
  Loop loop;
  Body body;
};

#if defined(__CUDACC__)

/// A place for a work in the parameters of a kernel.
template <class Loop, class Body> union Layer {
  Work<Loop, Body> work;
  RPU_FN Layer() {}
};

template <class Loop, class Body> struct Layers {
  static constexpr size_t kBytes = 16000;  // a kernel takes 32 KB, all of which travel with every launch
  static constexpr size_t kFit = kBytes / sizeof(Layer<Loop, Body>), kMost = kFit < 1 ? 1 : kFit < 16 ? kFit : 16;
  Layer<Loop, Body> layer[kMost];
};

template <class Loop, class Body>
__global__ void __launch_bounds__(kThreads) layers_kernel(const __grid_constant__ Layers<Loop, Body> layers) {
  const Work<Loop, Body>& work = layers.layer[blockIdx.z].work;
  work.loop.run(work.body);
}

/// Launches works[first] to works[last - 1] as layers.
template <class Loop, class Body>
void launch_some(Queue queue, const std::vector<const void*>& works, size_t first, size_t last) {
  Layers<Loop, Body> layers;
  Extent extent{};
  for (size_t i = first; i < last; ++i) {
    const auto& work = *static_cast<const Work<Loop, Body>*>(works[i]);
    new (&layers.layer[i - first].work) Work<Loop, Body>(work);
    extent.include(work.loop.extent());
  }
  layers_kernel<<<extent.blocks(static_cast<int64_t>(last - first)), extent.threads(), 0, queue>>>(layers);
}

template <class Loop, class Body> void launch_layers(Queue queue, const std::vector<const void*>& works) {
  constexpr size_t kMost = Layers<Loop, Body>::kMost;
  for (size_t first = 0; first < works.size(); first += kMost) {
    const size_t left = works.size() - first;
    const auto& work = *static_cast<const Work<Loop, Body>*>(works[first]);
    if (left == 1) launch(queue, work.loop, work.body);
    else launch_some<Loop, Body>(queue, works, first, first + (left < kMost ? left : kMost));
  }
}

#else

template <class Loop, class Body> void launch_layers(Queue, const std::vector<const void*>& works) {
  ++rpu_emulated_launches;
  for (const void* at : works) {
    const auto& work = *static_cast<const Work<Loop, Body>*>(at);
    work.loop.run(work.body);
  }
}

#endif

template <class Loop, class Body> void start(Stream_t stream, const Loop& loop, const Body& body) {
  static_assert(std::is_trivially_copyable_v<Body>, "a body travels as bytes");
  if (loop.empty()) return;
  if (stream.recording == nullptr) return launch(stream.queue, loop, body);
  stream.recording->add(launch_layers<Loop, Body>, std::make_shared<Work<Loop, Body>>(Work<Loop, Body>{loop, body}));
}

template <class Body> void over_items(Stream_t stream, int64_t n, const Body& body) { start(stream, Items{n}, body); }

/// Cells of an array: a quad for every row.
template <class Body> void over_quads(Stream_t stream, int64_t rows, int64_t cols, const Body& body) {
  start(stream, Quads{rows, cols, groups(cols) * kGroupCalls}, body);
}

/// Lines of samples: the numbers of a quad are the same in all rows, and a sample is told apart by its own number.
template <class Body> void over_samples(Stream_t stream, int64_t rows, int64_t cols, const Body& body) {
  start(stream, Quads{rows, cols, 0}, body);
}

template <class Body> void over_blocks(Stream_t stream, int64_t across, int64_t down, const Body& body) {
  start(stream, Blocks{across, down}, body);
}

struct ZeroWords {
  uint32_t* words;

  RPU_FN void operator()(int64_t i) const { words[i] = 0; }
};

/// Zeroes a number of bytes that is a multiple of four.
inline void zero(Stream_t stream, void* p, int64_t bytes) {
  if (bytes <= 0) return;
  if (stream.recording != nullptr) return over_items(stream, bytes / 4, ZeroWords{static_cast<uint32_t*>(p)});
#if defined(__CUDACC__)
  cudaMemsetAsync(p, 0, static_cast<size_t>(bytes), stream.queue);
#else
  ++rpu_emulated_launches;
  std::memset(p, 0, static_cast<size_t>(bytes));
#endif
}

RPU_END
