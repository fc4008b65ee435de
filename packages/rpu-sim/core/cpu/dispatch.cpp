#include "dispatch.hpp"

#include <atomic>
#include <cstdlib>

#include "../errors.hpp"

namespace rpu {

// Levels built into this library, slowest first; CMake defines RPU_LEVELS as a list of RPU_ISA(name, lanes).
#define RPU_ISA(name, lanes)                    \
  namespace isa_##name {                        \
  void register_cells(CellKernels&);            \
  void register_update(UpdateKernels&);         \
  void register_flow(UpdateKernels&);           \
  void register_mvm(MvmKernels&);               \
  void register_layer(LayerKernels&);           \
  void register_weights(WeightKernels&);        \
  void register_write(WriteKernels&);           \
  void register_drift(DriftKernels&);           \
  }
RPU_LEVELS
#undef RPU_ISA

namespace {

bool runs_here(const std::string& level) {
#if defined(__x86_64__) || defined(_M_X64)
  __builtin_cpu_init();
  const bool v2 = __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("ssse3") && __builtin_cpu_supports("popcnt");
  const bool v3 = v2 && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
  const bool v4 = v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                  __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
                  __builtin_cpu_supports("avx512vl");
  if (level == "v2") return v2;
  if (level == "v3") return v3;
  if (level == "v4") return v4;
  if (level == "v4x") return v4 && __builtin_cpu_supports("avx512vpopcntdq");
#endif
  return level == "scalar" || level == "aarch64";  // aarch64 is only built there, where NEON is always present
}

const std::vector<Kernels>& tables() {
  static const std::vector<Kernels> all = [] {
    std::vector<Kernels> built;
#define RPU_ISA(name, lanes)               \
  if (runs_here(#name)) {                  \
    Kernels k{#name, lanes, {}, {}, {}, {}, {}, {}, {}}; \
    isa_##name::register_cells(k.cell);    \
    isa_##name::register_update(k.update); \
    isa_##name::register_flow(k.update);   \
    isa_##name::register_mvm(k.mvm);       \
    isa_##name::register_layer(k.layer);   \
    isa_##name::register_weights(k.weights); \
    isa_##name::register_write(k.write);   \
    isa_##name::register_drift(k.drift);   \
    built.push_back(k);                    \
  }
    RPU_LEVELS
#undef RPU_ISA
    return built;
  }();
  return all;
}

const Kernels* find(const std::string& name) {
  for (const Kernels& k : tables())
    if (name == k.level) return &k;
  std::string known;
  for (const Kernels& k : tables()) known += std::string(known.empty() ? "" : ", ") + k.level;
  throw Error(ErrorKind::Backend,
              "instruction-set level '" + name + "' does not run on this machine; choose one of " + known);
}

std::atomic<const Kernels*>& current() {
  static std::atomic<const Kernels*> chosen = [] {
    const char* wish = std::getenv("RPU_ISA");
    return wish != nullptr && *wish != '\0' ? find(wish) : &tables().back();
  }();
  return chosen;
}

}  // namespace

const Kernels& kernels() { return *current().load(std::memory_order_relaxed); }

std::vector<std::string> available_levels() {
  std::vector<std::string> names;
  for (const Kernels& k : tables()) names.emplace_back(k.level);
  return names;
}

void select_level(const std::string& name) { current().store(find(name), std::memory_order_relaxed); }

}  // namespace rpu
