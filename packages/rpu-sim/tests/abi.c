/* The layout of version 1 of the plugin interface, which never changes; test_cuda_plugin.py compiles this. */
#include <stddef.h>

#include "c_api.h"

#define AT(type, field, place) _Static_assert(offsetof(type, field) == place, #type "." #field " has moved")
#define SIZE(type, bytes) _Static_assert(sizeof(type) == bytes, #type " has another size")

_Static_assert(RPU_PLUGIN_ABI == 1, "a changed interface is a new version with a file of its own");
_Static_assert(RPU_OK == 0 && RPU_BAD_CONFIG == 1 && RPU_BAD_SHAPE == 2 && RPU_FAILED == 3, "codes have changed");

SIZE(RpuDeviceInfo, 152);
AT(RpuDeviceInfo, major, 4);
AT(RpuDeviceInfo, multiprocessors, 12);
AT(RpuDeviceInfo, memory, 16);
AT(RpuDeviceInfo, name, 24);

SIZE(RpuCall, 40);
AT(RpuCall, device, 4);
AT(RpuCall, stream, 8);
AT(RpuCall, allocate, 16);
AT(RpuCall, context, 24);
AT(RpuCall, faults, 32);

SIZE(RpuOperation, 24);
AT(RpuOperation, args_size, 8);
AT(RpuOperation, run, 16);

SIZE(RpuPlugin, 120);
AT(RpuPlugin, abi, 4);
AT(RpuPlugin, version, 8);
AT(RpuPlugin, toolkit, 16);
AT(RpuPlugin, architectures, 24);
AT(RpuPlugin, device_count, 32);
AT(RpuPlugin, device_info, 40);
AT(RpuPlugin, last_error, 48);
AT(RpuPlugin, acquire, 56);
AT(RpuPlugin, release, 64);
AT(RpuPlugin, copy, 72);
AT(RpuPlugin, n_operations, 80);
AT(RpuPlugin, operations, 88);
AT(RpuPlugin, acquire_on, 96);
AT(RpuPlugin, release_on, 104);
AT(RpuPlugin, queue_copy, 112);

/* A plugin without anything in it, of the version that the test asks for. */
#ifdef PLUGIN_ABI
const RpuPlugin* rpu_plugin(uint32_t abi) {
  static const RpuPlugin plugin = {sizeof(RpuPlugin), PLUGIN_ABI, "0", "none", "", 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
  return abi == PLUGIN_ABI ? &plugin : 0;
}
#endif
