// A plugin that computes elsewhere (c_api.h), and which calls go to it: those of a thread that works on its arrays, or
// all calls with copies of their arrays (staging.hpp).
#pragma once
#include <string>
#include <vector>

#include "../c_api.h"
#include "../operations.hpp"

namespace rpu {

/// Loads a plugin, once per path and for good; throws Error(Backend) unless it fits this build.
const RpuPlugin& load_plugin(const std::string& path);

/// Where an operation runs.
struct Accelerator {
  const RpuPlugin* plugin;
  RpuCall call;  // without `allocate` arrays are those of the host, and an operation is done when it returns
  uint32_t* returned;  // on the device, for what an operation hands back; see Returned
};

/// That of the calls of this thread; null: the CPU.
const Accelerator* accelerator();

/// Sends the calls of this thread to an accelerator while it lives, or with null to the CPU.
class UseAccelerator {
 public:
  explicit UseAccelerator(const Accelerator* chosen);
  ~UseAccelerator();
  UseAccelerator(const UseAccelerator&) = delete;
  UseAccelerator& operator=(const UseAccelerator&) = delete;

 private:
  const Accelerator* before_;
};

/// Sends all calls of all threads to a device of a plugin, with copies of their host arrays; null ends it.
void offload(const RpuPlugin* plugin, int device);

/// Runs an operation; throws what it reports.
void run_on(const Accelerator& where, Operation operation, const void* args);

/// Runs an operation with all of these arguments, which have nothing to do with each other, with as few launches as one of
/// them takes.
template <class Args> void run_many_on(const Accelerator& where, Operation operation, const std::vector<Args>& calls) {
  std::vector<const void*> pointers;
  for (const Args& args : calls) pointers.push_back(&args);
  const ManyCall many{operation, pointers.data(), static_cast<int64_t>(pointers.size())};
  if (many.n > 0) run_on(where, Operation::many, &many);
}

/// A number that an operation writes and the host waits for.
class Returned {
 public:
  explicit Returned(const Accelerator& where) : where_(where) {}
  uint32_t* at() { return where_.returned != nullptr ? where_.returned : &value_; }
  uint32_t value();

 private:
  const Accelerator& where_;
  uint32_t value_ = 0;
};

/// Throws what the status of a function of the plugin means.
void check_status(const RpuPlugin& plugin, int32_t status);

/// Whether the call runs elsewhere, which it then has.
template <class Args> bool runs_elsewhere(Operation operation, const Args& args) {
  const Accelerator* where = accelerator();
  if (where != nullptr) run_on(*where, operation, &args);
  return where != nullptr;
}

}  // namespace rpu
