#include "tensors.hpp"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>

#include <algorithm>
#include <cstdint>
#include <new>
#include <utility>

#include "../errors.hpp"

namespace rpu::python {

using DlTensor = nb::dlpack::dltensor;

namespace {

struct Version {
  uint32_t major, minor;
};
constexpr Version kVersion{1, 3};

}  // namespace

/// DLManagedTensorVersioned of DLPack.
struct ManagedTensor {
  Version version;
  void* context;
  void (*deleter)(ManagedTensor*);
  uint64_t flags;
  DlTensor tensor;
};

/// DLPackExchangeAPI; functions return 0, or -1 with an error of Python set.
struct ExchangeApi {
  Version version;
  const ExchangeApi* older;
  void* allocate;
  void* managed_from_object;
  int (*to_object)(ManagedTensor* taken, void** object);
  int (*view)(void* object, DlTensor* out);  // may be null
  void* current_stream;
};

namespace {

constexpr size_t kCacheLine = 64;

/// A tensor with its sizes and, from the next cache line on, its content. All of it lies in one block, which `malloc` gives
/// faster than aligned memory.
struct Owned {
  ManagedTensor managed;
  int64_t shape[TensorView::kMostAxes], strides[TensorView::kMostAxes];

  static Owned* with_floats(int64_t n) {
    return new (::operator new(sizeof(Owned) + kCacheLine + static_cast<size_t>(n) * sizeof(float))) Owned{};
  }
  float* content() {
    const auto end = reinterpret_cast<uintptr_t>(this + 1);
    return reinterpret_cast<float*>((end + kCacheLine - 1) / kCacheLine * kCacheLine);
  }
  static void free(ManagedTensor* tensor) { ::operator delete(tensor->context); }
};

bool is_contiguous(const DlTensor& t) {
  if (t.strides == nullptr) return true;
  int64_t stride = 1;
  for (int axis = t.ndim - 1; axis >= 0; --axis) {
    if (t.shape[axis] != 1 && t.strides[axis] != stride) return false;
    stride *= t.shape[axis];
  }
  return true;
}

}  // namespace

float* NewTensor::data() const { return static_cast<float*>(tensor_->tensor.data); }

void NewTensor::Release::operator()(ManagedTensor* tensor) const { tensor->deleter(tensor); }

namespace {

Tensors named;  // as good as constant: Python names a type once, and modules are never unloaded

bool is_true(PyObject* answer) {
  if (answer == nullptr) throw nb::python_error();
  Py_DECREF(answer);
  return answer == Py_True;
}

}  // namespace

const Tensors* Tensors::of(nb::handle tensor) {
  if (named.api_ == nullptr || tensor.type().ptr() != named.type_) return nullptr;
  return is_true(PyObject_CallMethodObjArgs(tensor.ptr(), named.negated_, nullptr)) ? nullptr : &named;
}

void Tensors::name(nb::handle type, nb::handle capsule) {
  const auto* functions = static_cast<const ExchangeApi*>(PyCapsule_GetPointer(capsule.ptr(), "dlpack_exchange_api"));
  if (functions == nullptr) throw nb::python_error();
  while (functions != nullptr && functions->version.major != kVersion.major) functions = functions->older;
  if (functions == nullptr || functions->view == nullptr)
    throw Error(ErrorKind::Backend, "these tensors do not lend their memory as DLPack 1.3 says");
  named.type_ = type.inc_ref().ptr();
  named.negated_ = PyUnicode_InternFromString("is_neg");
  named.api_ = functions;
}

std::optional<TensorView> Tensors::view(nb::handle tensor) const {
  DlTensor t;
  if (api_->view(tensor.ptr(), &t) != 0) {
    PyErr_Clear();  // it has no memory of its own; whoever looks closer says why
    return std::nullopt;
  }
  const bool fits = t.device.device_type == nb::device::cpu::value && t.dtype == nb::dtype<float>() && t.ndim >= 1 &&
                    t.ndim <= TensorView::kMostAxes && t.data != nullptr && is_contiguous(t);
  if (!fits) return std::nullopt;
  TensorView view{reinterpret_cast<float*>(static_cast<char*>(t.data) + t.byte_offset), t.ndim, {}, 1};
  std::copy_n(t.shape, t.ndim, view.shape);
  for (int axis = 0; axis + 1 < t.ndim; ++axis) view.samples *= t.shape[axis];
  if (view.samples == 0 || view.width() == 0) return std::nullopt;
  return view;
}

NewTensor Tensors::made(const TensorView& like, int64_t width) const {
  Owned* owned = Owned::with_floats(like.samples * width);
  NewTensor made;
  made.tensor_.reset(&owned->managed);
  std::copy_n(like.shape, like.ndim, owned->shape);
  owned->shape[like.ndim - 1] = width;
  int64_t stride = 1;
  for (int axis = like.ndim - 1; axis >= 0; stride *= owned->shape[axis--]) owned->strides[axis] = stride;
  owned->managed = {kVersion, owned, &Owned::free, 0,
                    {owned->content(), {nb::device::cpu::value, 0}, like.ndim, nb::dtype<float>(), owned->shape, owned->strides, 0}};
  return made;
}

nb::object Tensors::finished(NewTensor tensor) const {
  void* object = nullptr;
  if (api_->to_object(tensor.tensor_.get(), &object) != 0) throw nb::python_error();
  tensor.tensor_.release();
  return nb::steal(static_cast<PyObject*>(object));
}

namespace {

using Rows = nb::ndarray<nb::array_api>;

Rows rows_of(const TensorView& view, nb::handle owner) {
  return Rows(view.data, {static_cast<size_t>(view.samples), static_cast<size_t>(view.width())}, owner, {}, nb::dtype<float>());
}

/// Nothing unless both can be viewed.
std::optional<std::pair<Rows, Rows>> rows(nb::handle x, int64_t x_width, nb::handle d, int64_t d_width) {
  const Tensors* tensors = Tensors::of(x);
  if (tensors == nullptr || Tensors::of(d) == nullptr) return std::nullopt;
  const std::optional<TensorView> of_x = tensors->view(x), of_d = tensors->view(d);
  if (!of_x || !of_d || of_x->width() != x_width || of_d->width() != d_width || of_x->ndim != of_d->ndim ||
      !std::equal(of_x->shape, of_x->shape + of_x->ndim - 1, of_d->shape))
    return std::nullopt;
  return std::pair{rows_of(*of_x, x), rows_of(*of_d, d)};
}

}  // namespace

void bind_tensors(nb::module_& m) {
  m.def("name_tensors", &Tensors::name, nb::arg("type"), nb::arg("api"),
        "Let tensors of a type be viewed with the C functions of its `__dlpack_c_exchange_api__`.");
  m.def("rows_of_tensors", &rows, nb::arg("x").none(), nb::arg("x_width"), nb::arg("d").none(), nb::arg("d_width"),
        "Two tensors of the type that was named, with the same leading shape, as matrices on their memory; None unless both are "
        "contiguous float32 of these widths on the CPU.");
}

}  // namespace rpu::python
