#include "accelerator.hpp"

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#if !defined(_WIN32)
#  include <dlfcn.h>
#endif

#include "../cpu/float_environment.hpp"
#include "../errors.hpp"
#include "staging.hpp"

namespace rpu {
namespace {

constexpr const char* kNames[] = {
#define RPU_OPERATION(name, Args) #name,
    RPU_OPERATIONS(RPU_OPERATION)
#undef RPU_OPERATION
};
constexpr uint64_t kSizes[] = {
#define RPU_OPERATION(name, Args) sizeof(Args),
    RPU_OPERATIONS(RPU_OPERATION)
#undef RPU_OPERATION
};
constexpr uint32_t kOperations = static_cast<uint32_t>(Operation::kCount);

[[noreturn]] void refuse(const std::string& path, const std::string& reason) {
  throw Error(ErrorKind::Backend, "the plugin " + path + " cannot be used: " + reason);
}

const RpuPlugin* open_plugin(const std::string& path) {
#if defined(_WIN32)
  refuse(path, "there are no plugins for Windows yet; use the CPU");
#else
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) refuse(path, dlerror());
  const auto entry = reinterpret_cast<RpuPluginEntry>(dlsym(library, RPU_PLUGIN_ENTRY));
  if (entry == nullptr) refuse(path, "it has no function " RPU_PLUGIN_ENTRY "; reinstall it");
  return entry(RPU_PLUGIN_ABI);
#endif
}

void check_plugin(const std::string& path, const RpuPlugin* plugin) {
  const std::string advice = "; install the version of rpu-sim itself";
  if (plugin == nullptr || plugin->abi != RPU_PLUGIN_ABI)
    refuse(path, "it does not have version " + std::to_string(RPU_PLUGIN_ABI) + " of the interface" + advice);
  if (plugin->size < sizeof(RpuPlugin) || plugin->n_operations != kOperations)
    refuse(path, "it has other operations than this rpu-sim" + advice);
  for (uint32_t i = 0; i < kOperations; ++i) {
    const RpuOperation& operation = plugin->operations[i];
    if (std::string(operation.name) != kNames[i] || operation.args_size != kSizes[i])
      refuse(path, std::string("its operation ") + operation.name + " was built from other sources" + advice);
  }
}

constexpr Accelerator kCpu{};
thread_local const Accelerator* of_thread = nullptr;  // &kCpu: the CPU, whatever is of all threads
std::atomic<const Accelerator*> of_all{nullptr};

}  // namespace

const RpuPlugin& load_plugin(const std::string& path) {
  static std::mutex mutex;
  static std::map<std::string, const RpuPlugin*> loaded;
  const std::lock_guard<std::mutex> lock(mutex);
  const auto known = loaded.find(path);
  if (known != loaded.end()) return *known->second;
  const RpuPlugin* plugin = open_plugin(path);
  check_plugin(path, plugin);
  loaded[path] = plugin;
  return *plugin;
}

const Accelerator* accelerator() {
  if (of_thread == nullptr) return of_all.load(std::memory_order_relaxed);
  return of_thread == &kCpu ? nullptr : of_thread;
}

UseAccelerator::UseAccelerator(const Accelerator* chosen) : before_(of_thread) {
  of_thread = chosen != nullptr ? chosen : &kCpu;
}
UseAccelerator::~UseAccelerator() { of_thread = before_; }

void offload(const RpuPlugin* plugin, int device) {
  static Accelerator chosen{};
  chosen = {plugin, {sizeof(RpuCall), device, nullptr, nullptr, nullptr, nullptr}, nullptr};
  of_all.store(plugin != nullptr ? &chosen : nullptr);
}

void run_on(const Accelerator& where, Operation operation, const void* args) {
  if (where.call.allocate == nullptr) return run_staged(*where.plugin, where.call.device, operation, args);
  const FloatEnvironment pinned;
  const int32_t status = where.plugin->operations[static_cast<uint32_t>(operation)].run(args, &where.call);
  check_status(*where.plugin, status);
}

void check_status(const RpuPlugin& plugin, int32_t status) {
  if (status == RPU_BAD_CONFIG) throw Error(ErrorKind::Config, plugin.last_error());
  if (status == RPU_BAD_SHAPE) throw Error(ErrorKind::Shape, plugin.last_error());
  if (status != RPU_OK) throw Error(ErrorKind::Backend, plugin.last_error());
}

uint32_t Returned::value() {
  if (where_.returned == nullptr) return value_;
  const RpuCall& call = where_.call;
  check_status(*where_.plugin, where_.plugin->copy(call.device, &value_, where_.returned, sizeof value_, call.stream));
  return value_;
}

}  // namespace rpu
