// What the files of the plugin share: the call they work for, its memory, and errors.
#pragma once
#include <string>

#include "../errors.hpp"
#include "../operations.hpp"
#include "launch.hpp"

RPU_BEGIN

/// Lays arrays out one behind the other, first only to measure and then in memory.
class Arena {
 public:
  explicit Arena(char* memory) : memory_(memory) {}

  template <class T> T* take(int64_t n) {
    const int64_t at = used_;
    used_ += (n * static_cast<int64_t>(sizeof(T)) + 255) / 256 * 256;
    return memory_ == nullptr ? nullptr : reinterpret_cast<T*>(memory_ + at);
  }
  int64_t used() const { return used_; }

 private:
  char* memory_;
  int64_t used_ = 0;
};

[[noreturn]] inline void throw_no_memory(uint64_t bytes) {
  throw Error(ErrorKind::Backend, "there are not " + std::to_string(bytes) +
                                      " bytes of GPU memory for this operation; use smaller batches");
}

/// The workspace of an operation, an object that is made from an arena.
template <class Workspace, class... Args> Workspace workspace(const RpuCall& call, const Args&... args) {
  Arena measure(nullptr);
  static_cast<void>(Workspace(measure, args...));
  void* memory = measure.used() > 0 ? call.allocate(call.context, static_cast<uint64_t>(measure.used())) : nullptr;
  if (measure.used() > 0 && memory == nullptr) throw_no_memory(static_cast<uint64_t>(measure.used()));
  Arena arena(static_cast<char*>(memory));
  return Workspace(arena, args...);
}

inline Stream_t stream_of(const RpuCall& call) { return {static_cast<Queue>(call.stream), recording_of_thread}; }

RPU_END

namespace rpu::RPU_LEVEL {

// One function for each operation, in cells.cu, weights.cu, update.cu, mvm.cu, digital.cu and together.cu.
#define RPU_OPERATION(name, Args) void run_##name(const Args&, const RpuCall&);
RPU_OPERATIONS(RPU_OPERATION)
#undef RPU_OPERATION

}  // namespace rpu::RPU_LEVEL
