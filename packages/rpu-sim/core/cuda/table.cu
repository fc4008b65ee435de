// The table of the plugin: its operations, its devices, and errors as codes with a sentence.
#include <mutex>

#include "plugin.hpp"

#if defined(__CUDACC__)
#  include "on_device.hpp"
#else
#  include <cstdio>

#  include "emulated_memory.hpp"
#endif

namespace rpu::RPU_LEVEL {
namespace {

thread_local std::string last_error;

int32_t failed(int32_t code, const std::string& sentence) {
  last_error = sentence;
  return code;
}

#if defined(__CUDACC__)

#  define RPU_STRING(x) #x
#  define RPU_TEXT(x) RPU_STRING(x)
constexpr const char* kToolkit = "CUDA " RPU_TEXT(__CUDACC_VER_MAJOR__) "." RPU_TEXT(__CUDACC_VER_MINOR__);

std::string reported(cudaError_t status) { return std::string("CUDA reports: ") + cudaGetErrorString(status); }

/// As the interface returns it. An error that was reported is forgotten, or the next call would report it again.
int32_t status_of(cudaError_t status) {
  if (status == cudaSuccess) return RPU_OK;
  cudaGetLastError();
  return failed(RPU_FAILED, reported(status));
}

class OnDevice : public DeviceScope {
 public:
  using DeviceScope::DeviceScope;
  void start() const { check(status()); }
  /// Throws what a launch left.
  void finish() const { check(cudaGetLastError()); }

 private:
  static void check(cudaError_t status) {
    if (status_of(status) != RPU_OK) throw Error(ErrorKind::Backend, reported(status));
  }
};

int32_t device_count() {
  int n = 0;
  const cudaError_t status = cudaGetDeviceCount(&n);
  if (status == cudaSuccess) return n;
  cudaGetLastError();
  if (status == cudaErrorNoDevice) return 0;
  int driver = 0;
  cudaDriverGetVersion(&driver);
  if (driver == 0) return failed(-1, "there is no NVIDIA driver; install one");
  if (status == cudaErrorInsufficientDriver)
    return failed(-1, "the NVIDIA driver serves CUDA " + std::to_string(driver / 1000) + "." +
                          std::to_string(driver % 1000 / 10) + " but the plugin was built with " + kToolkit +
                          "; update the driver");
  return failed(-1, reported(status));
}

int32_t device_info(int32_t device, RpuDeviceInfo* info) {
  cudaDeviceProp properties;
  const cudaError_t status = cudaGetDeviceProperties(&properties, device);
  if (status != cudaSuccess) return status_of(status);
  info->major = properties.major, info->minor = properties.minor;
  info->multiprocessors = static_cast<uint32_t>(properties.multiProcessorCount);
  info->memory = properties.totalGlobalMem;
  snprintf(info->name, sizeof info->name, "%.127s", properties.name);
  return RPU_OK;
}

void* acquire(int32_t device, uint64_t bytes) {
  void* memory = nullptr;
  const OnDevice current(device);
  if (current.status() == cudaSuccess && cudaMalloc(&memory, bytes) == cudaSuccess) return memory;
  cudaGetLastError();
  return nullptr;
}

void release(int32_t device, void* memory) {
  const OnDevice current(device);
  status_of(cudaFree(memory));
}

/// Lets the pool of a device keep what is given back, which it else returns to the driver whenever a stream is waited for.
bool keep_pool(int32_t device) {
  cudaMemPool_t pool;
  uint64_t all = UINT64_MAX;
  return cudaDeviceGetDefaultMemPool(&pool, device) == cudaSuccess &&
         cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &all) == cudaSuccess;
}

void* acquire_on(int32_t device, uint64_t bytes, void* stream) {
  constexpr int kMostDevices = 64;
  static std::once_flag once[kMostDevices];
  const OnDevice current(device);
  if (current.status() != cudaSuccess) return nullptr;
  if (device < kMostDevices) std::call_once(once[device], keep_pool, device);
  void* memory = nullptr;
  if (cudaMallocAsync(&memory, bytes, static_cast<cudaStream_t>(stream)) == cudaSuccess) return memory;
  cudaGetLastError();
  return nullptr;
}

void release_on(int32_t device, void* memory, void* stream) {
  const OnDevice current(device);
  status_of(cudaFreeAsync(memory, static_cast<cudaStream_t>(stream)));
}

/// Whether a queued copy may read this memory after the call that queues it: of the host, and not staged by the driver.
bool is_read_later(const void* from, int32_t device) {
  cudaPointerAttributes known{};
  if (status_of(cudaPointerGetAttributes(&known, from)) != RPU_OK) return true;
  if (known.type != cudaMemoryTypeUnregistered) return known.type != cudaMemoryTypeDevice;  // pinned, or managed
  int host_tables = 0;
  cudaDeviceGetAttribute(&host_tables, cudaDevAttrPageableMemoryAccessUsesHostPageTables, device);
  return host_tables != 0;
}

cudaError_t queue(void* to, const void* from, uint64_t bytes, void* stream) {
  return cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, static_cast<cudaStream_t>(stream));
}

int32_t copy(int32_t device, void* to, const void* from, uint64_t bytes, void* stream) {
  const OnDevice current(device);
  cudaError_t status = current.status();
  if (status == cudaSuccess) status = queue(to, from, bytes, stream);
  if (status == cudaSuccess) status = cudaStreamSynchronize(static_cast<cudaStream_t>(stream));
  return status_of(status);
}

int32_t queue_copy(int32_t device, void* to, const void* from, uint64_t bytes, void* stream) {
  const OnDevice current(device);
  if (current.status() != cudaSuccess) return status_of(current.status());
  if (is_read_later(from, device)) return copy(device, to, from, bytes, stream);
  return status_of(queue(to, from, bytes, stream));
}

#else  // on the host, for tests

constexpr const char* kToolkit = "no GPU: the kernels run on the host";
#  define RPU_ARCHITECTURES ""

class OnDevice {
 public:
  explicit OnDevice(int device) : memory_(EmulatedMemory::of(device)) { memory_.enter(); }
  ~OnDevice() { memory_.leave(); }
  OnDevice(const OnDevice&) = delete;
  OnDevice& operator=(const OnDevice&) = delete;
  void start() const {}
  void finish() const {}

 private:
  EmulatedMemory& memory_;
};

int32_t device_count() { return kEmulatedDevices; }

int32_t device_info(int32_t, RpuDeviceInfo* info) {
  info->major = info->minor = 0;
  info->multiprocessors = 1;
  info->memory = 0;
  std::snprintf(info->name, sizeof info->name, "emulated");
  return RPU_OK;
}

void* acquire(int32_t device, uint64_t bytes) { return EmulatedMemory::of(device).acquire(bytes); }
void release(int32_t device, void* memory) { EmulatedMemory::of(device).release(memory); }
void* acquire_on(int32_t device, uint64_t bytes, void*) { return acquire(device, bytes); }
void release_on(int32_t device, void* memory, void*) { release(device, memory); }
int32_t copy(int32_t device, void* to, const void* from, uint64_t bytes, void*) {
  const OnDevice open(device);
  std::memcpy(to, from, bytes);
  return RPU_OK;
}
int32_t queue_copy(int32_t device, void* to, const void* from, uint64_t bytes, void* stream) {
  return copy(device, to, from, bytes, stream);
}

#endif

const char* sentence() { return last_error.c_str(); }

template <class Args, void (*kRun)(const Args&, const RpuCall&)> int32_t run(const void* args, const RpuCall* call) {
  try {
    const OnDevice device(call->device);
    device.start();
    kRun(*static_cast<const Args*>(args), *call);
    device.finish();
    return RPU_OK;
  } catch (const Error& error) {
    const bool config = error.kind == ErrorKind::Config, shape = error.kind == ErrorKind::Shape;
    return failed(config ? RPU_BAD_CONFIG : shape ? RPU_BAD_SHAPE : RPU_FAILED, error.what());
  } catch (const std::exception& error) {
    return failed(RPU_FAILED, error.what());
  }
}

constexpr RpuOperation kOperations[] = {
#define RPU_OPERATION(name, Args) {#name, sizeof(Args), run<Args, run_##name>},
    RPU_OPERATIONS(RPU_OPERATION)
#undef RPU_OPERATION
};

constexpr RpuPlugin kPlugin = {sizeof(RpuPlugin), RPU_PLUGIN_ABI, RPU_VERSION, kToolkit, RPU_ARCHITECTURES,
                               device_count, device_info, sentence, acquire, release, copy,
                               sizeof kOperations / sizeof kOperations[0], kOperations,
                               acquire_on, release_on, queue_copy};

}  // namespace
}  // namespace rpu::RPU_LEVEL

extern "C"
#if !defined(_WIN32)
    __attribute__((visibility("default")))
#endif
    const RpuPlugin* rpu_plugin(uint32_t abi) {
  return abi == RPU_PLUGIN_ABI ? &rpu::RPU_LEVEL::kPlugin : nullptr;
}
