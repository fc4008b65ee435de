// Several calls in the launches of one: what each of them would launch is recorded, and loops of the same kind that stand
// at the same place in different calls become layers of one grid. Calls for a grid of tiles do the same work on other
// arrays, so that a call for all of them has about as many launches as a call for one, and the same bits.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#if defined(__CUDACC__)
#  include <cuda_runtime.h>
#endif

namespace rpu::RPU_LEVEL {

#if defined(__CUDACC__)
using Queue = cudaStream_t;
#else
using Queue = void*;
#endif

/// What calls would launch.
class Recording {
 public:
  /// A loop and its body.
  using Work = std::shared_ptr<const void>;
  /// Launches works of one kind together, each in a layer of its own.
  using Launch = void (*)(Queue, const std::vector<const void*>& works);

  /// What follows belongs to the next call.
  void next_call() { calls_.emplace_back(); }
  void add(Launch launch, Work work) { calls_.back().push_back({launch, std::move(work)}); }
  /// Launches everything, each call in its order.
  void launch(Queue queue) const;

 private:
  struct Recorded {
    Launch launch;  // one for each kind of loop and body
    Work work;
  };

  void launch_place(Queue queue, size_t place) const;

  std::vector<std::vector<Recorded>> calls_;
};

/// Where loops go: to the queue of a GPU, or to a recording whose loops are launched together with others later.
struct Stream_t {
  Queue queue;
  Recording* recording;  // null: launched at once
};

#if !defined(__CUDACC__)
/// Launches that a GPU would have had so far; tests read it.
extern "C" __attribute__((visibility("default"))) int64_t rpu_emulated_launches;
#endif

/// That of the calls of this thread, or null.
extern thread_local Recording* recording_of_thread;

}  // namespace rpu::RPU_LEVEL
