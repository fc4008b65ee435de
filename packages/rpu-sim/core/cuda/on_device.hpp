// The GPU that the calls of a thread go to while an object lives.
#pragma once
#include <cuda_runtime.h>

#include <mutex>

namespace rpu::RPU_LEVEL {

/// Contexts of the driver, for what the runtime cannot do: to leave a device without making a context on another one, which
/// takes hundreds of megabytes there. Functions are found at run time, so that the plugin loads without a driver.
class Contexts {
 public:
  static const Contexts& get() {
    static const Contexts contexts;
    return contexts;
  }

  /// Whether work has been done on a device; true where it is not known.
  bool exists(int device) const {
    unsigned flags = 0;
    int active = 1, handle = 0;
    if (!complete_ || device_(&handle, device) != 0 || state_(handle, &flags, &active) != 0) return true;
    return active != 0;
  }

  /// Makes the context of a device current; returns whether it did, with the one before, which may be none.
  bool enter(int device, void** before) const {
    constexpr int kMostDevices = 64;
    static std::once_flag once[kMostDevices];
    static void* primary[kMostDevices];  // kept for good, as the plugin is
    if (!complete_ || device >= kMostDevices || current_(before) != 0) return false;
    std::call_once(once[device], [&] {
      int handle = 0;
      if (device_(&handle, device) != 0 || retain_(&primary[device], handle) != 0) primary[device] = nullptr;
    });
    return primary[device] != nullptr && set_current_(primary[device]) == 0;
  }
  void leave(void* before) const { set_current_(before); }

 private:
  Contexts()
      : complete_(find("cuDeviceGet", device_) && find("cuDevicePrimaryCtxGetState", state_) &&
                  find("cuDevicePrimaryCtxRetain", retain_) && find("cuCtxGetCurrent", current_) &&
                  find("cuCtxSetCurrent", set_current_)) {}

  template <class Function> static bool find(const char* name, Function*& function) {
    void* found = nullptr;
    cudaDriverEntryPointQueryResult result{};
    const cudaError_t status = cudaGetDriverEntryPointByVersion(name, &found, 12000, cudaEnableDefault, &result);
    if (status != cudaSuccess) cudaGetLastError();
    function = reinterpret_cast<Function*>(found);
    return status == cudaSuccess && result == cudaDriverEntryPointSuccess && found != nullptr;
  }

  // As in cuda.h: results and devices are integers there.
  int (*device_)(int* handle, int ordinal) = nullptr;
  int (*state_)(int handle, unsigned* flags, int* active) = nullptr;
  int (*retain_)(void** context, int handle) = nullptr;
  int (*current_)(void** context) = nullptr;
  int (*set_current_)(void* context) = nullptr;
  bool complete_;  // after the functions, which it finds
};

/// Makes a device current, and what was before again at the end. It throws nothing: memory is given back in destructors,
/// also when the device is lost.
class DeviceScope {
 public:
  explicit DeviceScope(int device) : status_(cudaGetDevice(&before_)) {
    if (status_ != cudaSuccess || before_ == device) return;
    if (!Contexts::get().exists(before_) && Contexts::get().enter(device, &context_before_)) {
      entered_ = true;  // cudaSetDevice would make a context on the device that is returned to
      return;
    }
    status_ = cudaSetDevice(device);
    changed_ = status_ == cudaSuccess;
  }
  ~DeviceScope() {
    if (entered_) Contexts::get().leave(context_before_);
    if (changed_) cudaSetDevice(before_);
  }
  DeviceScope(const DeviceScope&) = delete;
  DeviceScope& operator=(const DeviceScope&) = delete;

  cudaError_t status() const { return status_; }

 private:
  int before_ = 0;
  cudaError_t status_;
  void* context_before_ = nullptr;
  bool entered_ = false, changed_ = false;
};

}  // namespace rpu::RPU_LEVEL
