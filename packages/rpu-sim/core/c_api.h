/* The C interface between rpu-sim and a plugin that computes elsewhere, such as rpu-sim-cu13. Version 1, frozen:
 * structs only grow at their end and a plugin says how large its own are; any other change is a new version.
 *
 * A plugin exports one function, rpu_plugin. Its table has an entry for each operation of core/operations.hpp, with the
 * size of the arguments it was compiled for; rpu-sim refuses a table that does not fit its own. All pointers within
 * arguments that stand for arrays are addresses on the device; scalars and parameter structs are read on the host
 * during the call. An operation queues its work on the stream that it is given and does not wait for it.
 */
#ifndef RPU_C_API_H
#define RPU_C_API_H
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define RPU_PLUGIN_ABI 1u
#define RPU_PLUGIN_ENTRY "rpu_plugin"

/* What an operation returns; anything but RPU_OK comes with a sentence in RpuPlugin.last_error. */
enum { RPU_OK = 0, RPU_BAD_CONFIG = 1, RPU_BAD_SHAPE = 2, RPU_FAILED = 3 };

typedef struct RpuDeviceInfo {
  uint32_t size;  /* of this struct, set by the caller */
  int32_t major, minor;
  uint32_t multiprocessors;
  uint64_t memory; /* bytes */
  char name[128];
} RpuDeviceInfo;

/* Where and with what an operation runs. */
typedef struct RpuCall {
  uint32_t size;
  int32_t device; /* index as the driver counts */
  void* stream;   /* cudaStream_t */
  /* Device memory that stays valid until the work queued up to and by this call is done, 256-byte aligned at least; null
   * if there is none. An operation calls it at most once, with all that it needs. */
  void* (*allocate)(void* context, uint64_t bytes);
  void* context;
  uint32_t* faults; /* on the device: 1 is or-ed into it when an input is NaN or infinite; may be null */
} RpuCall;

typedef struct RpuOperation {
  const char* name;
  uint64_t args_size;
  int32_t (*run)(const void* args, const RpuCall* call);
} RpuOperation;

typedef struct RpuPlugin {
  uint32_t size;
  uint32_t abi;
  const char* version;       /* of the rpu-sim whose sources it was built from */
  const char* toolkit;       /* for example "CUDA 13.0" */
  const char* architectures; /* for example "80;90" */
  /* Number of devices, or a negative number with the reason in last_error. */
  int32_t (*device_count)(void);
  int32_t (*device_info)(int32_t device, RpuDeviceInfo* info);
  const char* (*last_error)(void); /* of the calling thread */
  /* Memory of a device, for callers that have no allocator of their own: null when there is none left. */
  void* (*acquire)(int32_t device, uint64_t bytes);
  void (*release)(int32_t device, void* memory);
  /* Copies between host and device, or on a device, behind the work on the stream, and waits for it. */
  int32_t (*copy)(int32_t device, void* to, const void* from, uint64_t bytes, void* stream);
  uint32_t n_operations;
  const RpuOperation* operations;
  /* Memory in the order of a stream: it may be used by work that is queued on the stream behind the call, and is given
   * back behind all that is queued on it before. Neither waits. */
  void* (*acquire_on)(int32_t device, uint64_t bytes, void* stream);
  void (*release_on)(int32_t device, void* memory, void* stream);
  /* Like `copy` but only queued; memory of the host may change when the call returns. */
  int32_t (*queue_copy)(int32_t device, void* to, const void* from, uint64_t bytes, void* stream);
} RpuPlugin;

/* Null if the plugin does not know this version of the interface. */
typedef const RpuPlugin* (*RpuPluginEntry)(uint32_t abi);

#ifdef __cplusplus
}
#endif
#endif
