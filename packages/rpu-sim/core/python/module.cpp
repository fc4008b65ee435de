// The compiled module rpu_sim._core: a thin, checked door to the ops. Arrays belong to the caller.
#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include "../cpu/dispatch.hpp"
#include "../cpu/thread_pool.hpp"
#include "../errors.hpp"
#include "../ops/accelerator.hpp"
#include "bindings.hpp"
#include "tensors.hpp"

namespace rpu::python {
namespace {

/// Raises the Python class of rpu_sim.errors that belongs to a core error.
void translate(const std::exception_ptr& thrown, void*) {
  try {
    std::rethrow_exception(thrown);
  } catch (const Error& error) {
    static constexpr const char* kNames[] = {"ConfigError", "ShapeError", "NonFiniteError", "BackendError", "DeviceError"};
    const nb::object cls = nb::module_::import_("rpu_sim.errors").attr(kNames[static_cast<int>(error.kind)]);
    PyErr_SetString(cls.ptr(), error.what());
  }
}

}  // namespace
}  // namespace rpu::python

namespace nb = nanobind;

NB_MODULE(_core, m) {
  using namespace rpu;
  nb::set_leak_warnings(false);  // a tile in a global variable is alive when Python exits, which is no leak
  m.doc() = "Compiled core of rpu_sim; use rpu_sim.Tile and the functions of the package instead.";
  nb::register_exception_translator(python::translate);
  m.def("isa", [] { return std::string(kernels().level); }, "Instruction-set level in use.");
  m.def("isa_levels", &available_levels, "Levels that run on this machine, slowest first.");
  m.def("set_isa", &select_level, nb::arg("name"), "Use the instruction-set level `name`.");
  m.def("isa_lanes", [] { return kernels().lanes; }, "Cells per pack of the level in use.");
  m.def("num_threads", &num_threads, "Number of threads of the kernels.");
  m.def("set_num_threads", &set_num_threads, nb::arg("n"), "Use `n` threads.");
  m.def("use_openmp", [](uintptr_t parallel, uintptr_t thread_number) {
    use_openmp({reinterpret_cast<decltype(OpenMp::parallel)>(parallel),
                reinterpret_cast<decltype(OpenMp::thread_number)>(thread_number)});
  }, nb::arg("parallel"), nb::arg("thread_number"),
        "Run kernels on the threads of an OpenMP library with these functions, or with 0 on threads of our own.");
  m.def("plugin", [](const std::string& path) {
    const RpuPlugin& plugin = load_plugin(path);
    return std::make_tuple(std::string(plugin.version), std::string(plugin.toolkit), std::string(plugin.architectures));
  }, nb::arg("path"), "Load a plugin; returns its version, its toolkit and its architectures.");
  m.def("plugin_devices", [](const std::string& path) {
    const RpuPlugin& plugin = load_plugin(path);
    const int32_t n = plugin.device_count();
    if (n < 0) throw Error(ErrorKind::Backend, plugin.last_error());
    std::vector<std::tuple<std::string, int, int, int64_t>> devices;
    for (int32_t i = 0; i < n; ++i) {
      RpuDeviceInfo info{};
      info.size = sizeof info;
      if (plugin.device_info(i, &info) != RPU_OK) throw Error(ErrorKind::Backend, plugin.last_error());
      devices.emplace_back(std::string(info.name), info.major, info.minor, static_cast<int64_t>(info.memory));
    }
    return devices;
  }, nb::arg("path"), "Name, compute capability and bytes of memory of each device of a plugin.");
  m.def("offload", [](const std::string& path, int device) {
    offload(path.empty() ? nullptr : &load_plugin(path), device);
  }, nb::arg("path"), nb::arg("device") = 0,
        "Send all calls to a device of a plugin, with copies of their arrays; an empty path ends it.");
  python::bind_cells(m);
  python::bind_update(m);
  python::bind_layer(m);
  python::bind_tensors(m);
  python::bind_mvm(m);
  python::bind_weights(m);
  python::bind_transfer(m);
  python::bind_compound(m);
  python::bind_stored(m);
  python::bind_windows(m);
  python::bind_places(m);
}
