// The compiled module rpu_sim._core: a thin, checked door to the ops. Arrays belong to the caller.
#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "../cpu/dispatch.hpp"
#include "../cpu/thread_pool.hpp"
#include "../errors.hpp"
#include "bindings.hpp"

namespace rpu::python {
namespace {

/// Raises the Python class of rpu_sim.errors that belongs to a core error.
void translate(const std::exception_ptr& thrown, void*) {
  try {
    std::rethrow_exception(thrown);
  } catch (const Error& error) {
    static constexpr const char* kNames[] = {"ConfigError", "ShapeError", "NonFiniteError", "BackendError"};
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
  python::bind_cells(m);
  python::bind_update(m);
  python::bind_mvm(m);
  python::bind_weights(m);
  python::bind_transfer(m);
  python::bind_stored(m);
  python::bind_windows(m);
}
