#include "place.hpp"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <atomic>
#include <map>
#include <utility>

#include "../errors.hpp"
#include "bindings.hpp"

namespace rpu::python {
namespace {

constexpr uint32_t kReturned = 32, kFaults = 32;  // words on each GPU, the latter in a cache line of their own

using Gpus = std::map<std::pair<int, int>, Gpu>;

Gpus& gpus() {
  static auto* all = new Gpus;  // never deleted: it holds objects of Python, which ends before statics do
  return *all;
}

uint32_t* zeroed_words(const RpuPlugin& plugin, int index, uint64_t n) {
  const std::vector<uint32_t> zeros(n, 0);
  auto* words = static_cast<uint32_t*>(plugin.acquire(index, n * sizeof(uint32_t)));
  if (words == nullptr) throw Error(ErrorKind::Backend, "the GPU has no memory left; free some of it");
  check_status(plugin, plugin.copy(index, words, zeros.data(), n * sizeof(uint32_t), nullptr));
  return words;
}

[[noreturn]] void refuse_mixture() {
  throw Error(ErrorKind::Device, "the arrays of a call lie on different devices; move them to that of the tile");
}

}  // namespace

const Gpu& gpu_of(DeviceId id) {
  const auto found = gpus().find({id.type, id.index});
  if (found == gpus().end())
    throw Error(ErrorKind::Device, "an array is on a device that no tile was moved to; move the tile there with Tile.to()");
  return found->second;
}

void* stream_of(const Gpu& gpu) { return reinterpret_cast<void*>(nb::cast<uintptr_t>(gpu.runtime.attr("stream")())); }

GpuMemory::GpuMemory(const Gpu& gpu, uint64_t bytes, void* stream, bool lasting)
    : gpu_(gpu), stream_(stream), lasting_(lasting) {
  const uint64_t size = bytes > 0 ? bytes : 1;
  const auto number = reinterpret_cast<uintptr_t>(stream);
  at_ = reinterpret_cast<void*>(nb::cast<uintptr_t>(gpu.runtime.attr("allocate")(size, number)));
  from_framework_ = at_ != nullptr;
  if (!from_framework_) at_ = gpu.plugin->acquire_on(gpu.index, size, stream);
  if (at_ == nullptr) throw Error(ErrorKind::Backend, "the GPU has no memory left; use smaller arrays or batches");
}

GpuMemory::~GpuMemory() {
  if (!from_framework_) gpu_.plugin->release_on(gpu_.index, at_, stream_);
  if (!from_framework_ || !nb::is_alive()) return;
  const nb::error_scope on_its_way;  // an error that frees this on its way up stays what it is
  try {
    gpu_.runtime.attr("release")(reinterpret_cast<uintptr_t>(at_), lasting_);
  } catch (const nb::python_error&) {  // the interpreter is ending, and the memory ends with the process
  }
}

void Place::add(DeviceId id) {
  if (id.type == nb::device::cuda_managed::value) id.type = nb::device::cuda::value;  // memory of both worlds is that of the GPU
  if (id_ && !(*id_ == id)) refuse_mixture();
  id_ = id;
}

void Place::enter() {
  gpu_ = &gpu_of(*id_);
  // A word of its own for each of the calls that may be under way in other threads.
  static std::atomic<uint32_t> calls{0};
  uint32_t* returned = gpu_->returned + calls++ % kReturned;
  where_ = {gpu_->plugin, {sizeof(RpuCall), gpu_->index, stream_of(*gpu_), allocate, this, gpu_->faults}, returned};
  use_.emplace(&where_);
}

void* Place::allocate(void* context, uint64_t bytes) {
  auto& self = *static_cast<Place*>(context);
  const nb::gil_scoped_acquire locked;
  return self.workspace_.emplace(*self.gpu_, bytes, self.where_.call.stream, false).at();
}

// -- what Python sees ---------------------------------------------------------------------------------------------------

namespace {

using Anything = nb::ndarray<nb::c_contig>;
using Readable = nb::ndarray<nb::ro, nb::c_contig>;

bool same_layout(const Anything& to, const Readable& from) {
  bool same = to.ndim() == from.ndim() && to.dtype() == from.dtype();
  for (size_t axis = 0; same && axis < to.ndim(); ++axis) same = to.shape(axis) == from.shape(axis);
  return same;
}

/// Copies between the host and a GPU or on a GPU; it waits where the host is the target.
void copy_array(const Anything& to, const Readable& from) {
  if (!same_layout(to, from)) throw Error(ErrorKind::Shape, "a copy needs arrays of one shape and data type");
  const bool to_host = to.device_type() == nb::device::cpu::value;
  const DeviceId id = to_host ? DeviceId{from.device_type(), from.device_id()} : DeviceId{to.device_type(), to.device_id()};
  if (!to_host && from.device_type() != nb::device::cpu::value && !(id == DeviceId{from.device_type(), from.device_id()}))
    refuse_mixture();
  const Gpu& gpu = gpu_of(id);
  void* stream = stream_of(gpu);
  const nb::gil_scoped_release unlocked;
  const auto copy = to_host ? gpu.plugin->copy : gpu.plugin->queue_copy;
  if (to.nbytes() > 0) check_status(*gpu.plugin, copy(gpu.index, to.data(), from.data(), to.nbytes(), stream));
}

nb::dlpack::dtype type_named(const std::string& name) {
  if (name == "float32") return nb::dtype<float>();
  if (name == "int32") return nb::dtype<int32_t>();
  if (name == "int64") return nb::dtype<int64_t>();
  throw Error(ErrorKind::Config, "arrays on a GPU hold float32, int32 or int64, not " + name);
}

/// An array of the owner, which it keeps alive.
nb::ndarray<nb::array_api> view_of(nb::handle owner, uintptr_t address, DeviceId id, const std::vector<size_t>& shape,
                               const std::string& type, const std::vector<int64_t>& strides) {
  if (!strides.empty() && strides.size() != shape.size()) throw Error(ErrorKind::Shape, "there must be one stride per axis");
  auto* at = reinterpret_cast<void*>(address);
  return nb::ndarray<nb::array_api>(at, shape.size(), shape.data(), owner, strides.empty() ? nullptr : strides.data(),
                                   type_named(type), id.type, id.index);
}

/// Waits for the stream, and tells whether any input was not finite since the last time.
bool take_faults(DeviceId id) {
  const Gpu& gpu = gpu_of(id);
  void* stream = stream_of(gpu);
  const nb::gil_scoped_release unlocked;
  uint32_t faults = 0;
  const uint32_t none = 0;
  check_status(*gpu.plugin, gpu.plugin->copy(gpu.index, &faults, gpu.faults, sizeof faults, stream));
  if (faults != 0) check_status(*gpu.plugin, gpu.plugin->copy(gpu.index, gpu.faults, &none, sizeof none, stream));
  return faults != 0;
}

}  // namespace

void bind_places(nb::module_& m) {
  m.def("add_gpu", [](const std::string& path, int index, int type, nb::object runtime) {
    if (gpus().count({type, index}) != 0) return;
    const RpuPlugin& plugin = load_plugin(path);
    uint32_t* words = zeroed_words(plugin, index, kFaults + kReturned);
    gpus().insert({{type, index}, {&plugin, index, std::move(runtime), words, words + kFaults}});
  }, nb::arg("path"), nb::arg("index"), nb::arg("type"), nb::arg("runtime"),
     "Let arrays of a DLPack device be computed on by a plugin.");

  nb::class_<GpuMemory>(m, "GpuMemory", "Memory on a GPU.")
      .def("__init__", [](GpuMemory* self, int type, int index, uint64_t bytes) {
        const Gpu& gpu = gpu_of({type, index});
        new (self) GpuMemory(gpu, bytes, stream_of(gpu), true);
      }, nb::arg("type"), nb::arg("index"), nb::arg("bytes"))
      .def_prop_ro("address", [](const GpuMemory& self) { return reinterpret_cast<uintptr_t>(self.at()); });

  m.def("gpu_view", [](nb::handle owner, uintptr_t address, int type, int index, const std::vector<size_t>& shape,
                       const std::string& dtype, const std::vector<int64_t>& strides) {
    return view_of(owner, address, {type, index}, shape, dtype, strides);
  },
        nb::arg("owner"), nb::arg("address"), nb::arg("type"), nb::arg("index"), nb::arg("shape"), nb::arg("dtype"),
        nb::arg("strides") = std::vector<int64_t>{},
        "An array on memory of a GPU; strides in elements.");

  m.def("copy", &copy_array, nb::arg("to").noconvert(), nb::arg("from_").noconvert(),
        nb::sig("def copy(to: object, from_: object) -> None"),
        "Copy between the host and a GPU, or on a GPU; only a copy to the host waits.");

  m.def("take_faults", [](int type, int index) { return take_faults({type, index}); }, nb::arg("type"), nb::arg("index"),
        "Wait for a GPU; returns whether an input was NaN or infinite since the last time.");

  using Factors = nb::ndarray<const float, nb::ndim<1>, nb::c_contig>;
  m.def("combine", [](const Weights& out, const Samples& source, float factor, bool adds, const std::optional<Factors>& rows,
                      const std::optional<Factors>& columns) {
    const Place place(out, source, rows, columns);
    const Accelerator* where = accelerator();
    if (where == nullptr) throw Error(ErrorKind::Device, "combine is for arrays on a GPU; NumPy does it on the host");
    const auto n_rows = static_cast<int64_t>(out.shape(0)), n_cols = static_cast<int64_t>(out.shape(1));
    const ConstMatrix from = batch_view(source, n_cols, "source");
    if (from.rows != n_rows || (rows && static_cast<int64_t>(rows->shape(0)) != n_rows) ||
        (columns && static_cast<int64_t>(columns->shape(0)) != n_cols))
      throw Error(ErrorKind::Shape, "the arrays of a sum must have one shape, and factors one value per row or column");
    const auto data = [](const auto& array) { return array ? array->data() : nullptr; };
    const CombineCall call{{out.data(), n_rows, n_cols, n_cols}, from, factor, adds, data(rows), data(columns), 0.0f};
    run_on(*where, Operation::combine, &call);
  }, nb::arg("out").noconvert(), nb::arg("source").noconvert(), nb::arg("factor") = 1.0f, nb::arg("adds") = false,
     nb::arg("rows").noconvert() = nb::none(), nb::arg("columns").noconvert() = nb::none(),
     "out = factor * source, times factors of rows and columns; or that added to out.");
}

}  // namespace rpu::python
