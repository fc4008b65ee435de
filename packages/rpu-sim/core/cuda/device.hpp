// What is compiled once for each device of devices.def (device.cu): its population, its pulses, its flow.
#pragma once
#include "plugin.hpp"

namespace rpu::RPU_LEVEL {

/// One chunk of an update, on the device.
struct PulsedChunk {
  UpdateArgs args;
  const int64_t* slots;  // of the trains, or null where the pulses have no trains
  int64_t* fired;        // [2]
};

struct DeviceFunctions {
  void (*populate)(const PopulateArgs&, Stream_t);
  void (*update)(const PulsedChunk&, Stream_t);
  void (*mean_field)(const UpdateArgs&, Stream_t);
};

#define RPU_DEVICE(name, header) extern const DeviceFunctions functions_##name;
#include "../devices.def"
#undef RPU_DEVICE

inline const DeviceFunctions& functions_of(DeviceKind kind) {
  static const DeviceFunctions* const all[] = {
#define RPU_DEVICE(name, header) &functions_##name,
#include "../devices.def"
#undef RPU_DEVICE
  };
  return *all[static_cast<int>(kind)];
}

}  // namespace rpu::RPU_LEVEL
