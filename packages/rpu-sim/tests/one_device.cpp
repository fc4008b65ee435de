// Runs one device through the population and the pulsed update on one instruction-set level, without Python: see
// test_adding_a_device.py, which compiles this file with the kernels of a changed tree.
//
// RPU_DEVICE_UNDER_TEST  name of the functor
#include <type_traits>

#include "cpu/dispatch.hpp"
#include "cpu/thread_pool.hpp"
#include "ops/accelerator.hpp"
#include "ops/cells.hpp"
#include "ops/update.hpp"

#define RPU_JOIN(a, b) a##b
#define RPU_DATACLASS(name) RPU_JOIN(name, Device)

namespace rpu {

namespace RPU_LEVEL {
void register_cells(CellKernels&);
void register_update(UpdateKernels&);
void register_flow(UpdateKernels&);
}  // namespace RPU_LEVEL

// In place of cpu/dispatch.cpp: this level only.
const Kernels& kernels() {
  static const Kernels table = [] {
    Kernels k{};
    RPU_LEVEL::register_cells(k.cell);
    RPU_LEVEL::register_update(k.update);
    RPU_LEVEL::register_flow(k.update);
    return k;
  }();
  return table;
}

// In place of ops/accelerator.cpp: no plugins.
const Accelerator* accelerator() { return nullptr; }
void run_on(const Accelerator&, Operation, const void*) {}

// In place of cpu/thread_pool.cpp: no threads.
void run_tasks(int64_t n_tasks, int64_t, TaskFunction task, void* context) {
  for (int64_t i = 0; i < n_tasks; ++i) task(context, i);
}

namespace {

constexpr DeviceKind kDevice = DeviceKind::RPU_DEVICE_UNDER_TEST;
using DeviceParams = params::RPU_DATACLASS(RPU_DEVICE_UNDER_TEST);

/// Takes the fields of a struct, and of those nested in it, from a list of numbers.
struct Reader {
  const double* next;
  template <class T> void operator()(const char*, T& value) {
    if constexpr (std::is_class_v<T>) value.for_each_field(*this);
    else value = static_cast<T>(*next++);
  }
};

template <class Params> Params read(const double* values) {
  Params params{};
  params.for_each_field(Reader{values});
  return params;
}

CellFields cell_fields(float* const* data, const int64_t* strides, int n) {
  CellFields fields{};
  for (int i = 0; i < n; ++i) fields.field[i] = {data[i], strides[i]};
  return fields;
}

}  // namespace
}  // namespace rpu

extern "C" void one_device_populate(const double* device, float* const* fields, const int64_t* strides, int n_fields,
                                    int64_t rows, int64_t cols, uint64_t seed) {
  const auto params = rpu::read<rpu::DeviceParams>(device);
  rpu::populate(rpu::kDevice, {&params, rows, cols, rpu::cell_fields(fields, strides, n_fields), seed});
}

extern "C" void one_device_update(const double* device, float* const* fields, const int64_t* strides, int n_fields,
                                  const double* update, float* weights, int64_t rows, int64_t cols, const float* x,
                                  const float* d, int64_t batch, float lr, float granularity, uint64_t seed,
                                  uint32_t step, int64_t* pulses) {
  const auto params = rpu::read<rpu::DeviceParams>(device);
  rpu::PulsedUpdate call{};
  call.device = rpu::kDevice;
  call.device_params = &params;
  call.weights = {weights, rows, cols, cols};
  call.cells = rpu::cell_fields(fields, strides, n_fields);
  call.parameters = rpu::read<rpu::params::UpdateParameters>(update);
  call.x = rpu::ConstMatrix{x, batch, cols, cols};
  call.d = rpu::ConstMatrix{d, batch, rows, rows};
  call.lr = lr;
  call.granularity = granularity;
  call.seed = call.train_seed = seed;
  call.step = call.train_step = step;
  const rpu::PulseTotals totals = rpu::pulsed_update(call);
  pulses[0] = totals.up;
  pulses[1] = totals.down;
}
