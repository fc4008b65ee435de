// Numbers beside the arrays of a call, in the memory where it computes.
#pragma once
#include <vector>

#include "../errors.hpp"
#include "accelerator.hpp"

namespace rpu {

/// The accelerator on whose arrays the calls of this thread work; null: the arrays are on the host.
inline const Accelerator* resident() {
  const Accelerator* where = accelerator();
  return where != nullptr && where->call.allocate != nullptr ? where : nullptr;
}

class Scratch {
 public:
  Scratch() = default;
  ~Scratch() { free(); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  /// Memory for n numbers of arbitrary content; it serves one device.
  float* sized(int64_t n) {
    const Accelerator* where = resident();
    if (where == nullptr) {
      host_.resize(static_cast<size_t>(n));
      return host_.data();
    }
    if (n > capacity_) {
      free();
      plugin_ = where->plugin, device_ = where->call.device;
      memory_ = static_cast<float*>(plugin_->acquire(device_, static_cast<uint64_t>(n) * sizeof(float)));
      if (memory_ == nullptr) throw Error(ErrorKind::Backend, "the GPU has no memory left; use smaller batches");
      capacity_ = n;
    }
    return memory_;
  }

  /// Numbers of the host as they are, or a copy of them where the call computes.
  const float* filled(const float* values, int64_t n) {
    const Accelerator* where = resident();
    if (where == nullptr) return values;
    write(*where, sized(n), values, n);
    return memory_;
  }

  /// Queues a copy from the host, whose memory may change when it returns.
  static void write(const Accelerator& where, float* to, const float* values, int64_t n) {
    const RpuCall& call = where.call;
    const auto bytes = static_cast<uint64_t>(n) * sizeof(float);
    check_status(*where.plugin, where.plugin->queue_copy(call.device, to, values, bytes, call.stream));
  }

 private:
  void free() {
    if (memory_ != nullptr) plugin_->release(device_, memory_);
    memory_ = nullptr, capacity_ = 0;
  }

  std::vector<float> host_;
  const RpuPlugin* plugin_ = nullptr;
  int device_ = 0;
  float* memory_ = nullptr;
  int64_t capacity_ = 0;
};

}  // namespace rpu
