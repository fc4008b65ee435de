// Where the arrays of a call lie: in the memory of the host, or all of them on one GPU, whose plugin then computes.
#pragma once
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <optional>
#include <string>
#include <vector>

#include "../ops/accelerator.hpp"

namespace rpu::python {

namespace nb = nanobind;

/// A device as DLPack names it.
struct DeviceId {
  int type, index;
  bool operator==(const DeviceId& other) const { return type == other.type && index == other.index; }
};

/// A GPU that arrays may lie on. It stays for good once it is known.
struct Gpu {
  const RpuPlugin* plugin;
  int index;           // as the driver counts
  nb::object runtime;  // rpu_sim.gpu.Runtime: the stream of the moment, and memory of a framework
  uint32_t* faults;    // on the device
  uint32_t* returned;  // likewise, several words
};

/// The GPU with this name; throws Error(Device) for any other device.
const Gpu& gpu_of(DeviceId id);

/// Memory on a GPU in the order of a stream, from the allocator of the framework that the runtime knows, else the plugin's.
class GpuMemory {
 public:
  /// `lasting` memory outlives the call and is used on the streams of other calls.
  GpuMemory(const Gpu& gpu, uint64_t bytes, void* stream, bool lasting);
  ~GpuMemory();
  GpuMemory(const GpuMemory&) = delete;
  GpuMemory& operator=(const GpuMemory&) = delete;
  void* at() const { return at_; }

 private:
  const Gpu& gpu_;
  void* stream_;
  void* at_;
  bool from_framework_, lasting_;
};

void* stream_of(const Gpu& gpu);

/// Sends the calls of this thread to the place of some arrays while it lives; throws Error(Device) unless they lie together.
/// It needs the interpreter's lock at both ends, and may be without it in between.
class Place {
 public:
  template <class... Holders> explicit Place(const Holders&... holders) {
    (add(holders), ...);
    if (id_ && id_->type != nb::device::cpu::value) enter();
  }
  ~Place() = default;
  /// Throws unless some arrays lie together.
  template <class... Holders> static void check(const Holders&... holders) { Place(OnlyCheck{}, holders...); }
  Place(const Place&) = delete;
  Place& operator=(const Place&) = delete;
  /// Null: the host.
  const Gpu* gpu() const { return gpu_; }

 private:
  struct OnlyCheck {};
  template <class... Holders> explicit Place(OnlyCheck, const Holders&... holders) { (add(holders), ...); }
  template <class... Args> void add(const nb::ndarray<Args...>& array) { add(DeviceId{array.device_type(), array.device_id()}); }
  template <class T> void add(const std::optional<T>& holder) {
    if (holder) add(*holder);
  }
  void add(const std::vector<DeviceId>& ids) {
    for (const DeviceId& id : ids) add(id);
  }
  template <class T> void add(const std::vector<T>& holders) {
    for (const T& holder : holders) add(holder);
  }
  template <class Holder> auto add(const Holder& holder) -> decltype(holder.place(), void()) { add(holder.place()); }
  void add(DeviceId id);
  void enter();
  static void* allocate(void* context, uint64_t bytes);

  std::optional<DeviceId> id_;
  const Gpu* gpu_ = nullptr;
  Accelerator where_{};
  std::optional<GpuMemory> workspace_;
  std::optional<UseAccelerator> use_;
};

}  // namespace rpu::python
