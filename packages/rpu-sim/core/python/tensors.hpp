// Tensors of a framework that lends and takes memory through the C functions of DLPack 1.3 ("C exchange API"), as torch does
// from 2.10 on: a view and a result in a tenth of a microsecond each, where its Python functions take one and more.
#pragma once
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <memory>
#include <optional>

namespace rpu::python {

namespace nb = nanobind;

/// The memory of a contiguous float32 tensor in the memory of the host.
struct TensorView {
  static constexpr int kMostAxes = 8;

  float* data;
  int ndim;  // at least 1
  int64_t shape[kMostAxes];
  int64_t samples;  // the product of all sizes but the last

  int64_t width() const { return shape[ndim - 1]; }
};

struct ExchangeApi;
struct ManagedTensor;

/// A tensor in the making, which owns its memory.
class NewTensor {
 public:
  float* data() const;

 private:
  friend class Tensors;
  struct Release {
    void operator()(ManagedTensor*) const;
  };
  std::unique_ptr<ManagedTensor, Release> tensor_;
};

/// The C functions of the one type of tensors that Python has named.
class Tensors {
 public:
  /// Null unless `tensor` is of that type, not of one derived from it, and its memory shows its values.
  static const Tensors* of(nb::handle tensor);
  /// Names the type; throws Error(Backend) for functions of another version of DLPack.
  static void name(nb::handle type, nb::handle capsule);

  /// Nothing for a tensor that is no contiguous float32 memory of the host, is empty or has no axis.
  std::optional<TensorView> view(nb::handle tensor) const;
  /// A tensor with the leading sizes of a view and another width; its content is arbitrary.
  NewTensor made(const TensorView& like, int64_t width) const;
  /// Gives it to Python.
  nb::object finished(NewTensor tensor) const;

 private:
  PyObject *type_, *negated_;  // `negated_`: the name of the method that says whether values are negated when they are read
  const ExchangeApi* api_;
};

void bind_tensors(nb::module_& m);

}  // namespace rpu::python
