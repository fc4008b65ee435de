// Memory of emulated devices: pages that nobody may touch but the plugin while it works on their device. What reads or
// writes them from the host, or on another device, is a segmentation fault, as it is an error with a GPU.
#pragma once
#include <sys/mman.h>

#include <cstring>
#include <map>
#include <mutex>

namespace rpu::RPU_LEVEL {

constexpr int kEmulatedDevices = 2;

class EmulatedMemory {
 public:
  static EmulatedMemory& of(int device) {
    static EmulatedMemory all[kEmulatedDevices];
    return all[device];
  }

  void* acquire(uint64_t bytes) {
    const std::lock_guard<std::mutex> lock(mutex_);
    void* block = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (block == MAP_FAILED) return nullptr;
    std::memset(block, 0xff, bytes);  // NaN, so that what is read before it was written shows
    blocks_[block] = bytes;
    if (users_ == 0) mprotect(block, bytes, PROT_NONE);
    return block;
  }

  void release(void* block) {
    const std::lock_guard<std::mutex> lock(mutex_);
    munmap(block, blocks_.at(block));
    blocks_.erase(block);
  }

  void enter() {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (users_++ == 0) protect(PROT_READ | PROT_WRITE);
  }

  void leave() {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (--users_ == 0) protect(PROT_NONE);
  }

 private:
  void protect(int access) {
    for (const auto& [block, bytes] : blocks_) mprotect(block, bytes, access);
  }

  std::mutex mutex_;
  std::map<void*, size_t> blocks_;
  int users_ = 0;
};

}  // namespace rpu::RPU_LEVEL
