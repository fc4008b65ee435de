#include <nanobind/stl/vector.h>

#include "../errors.hpp"
#include "../ops/layer_product.hpp"
#include "bindings.hpp"

namespace rpu::python {
namespace {

template <class Array> auto* memory_of(nb::handle given, int64_t size, const char* name) {
  if (given.is_none()) return decltype(nb::cast<Array>(given).data()){nullptr};
  if (nb::isinstance<nb::int_>(given))
    return reinterpret_cast<decltype(nb::cast<Array>(given).data())>(nb::cast<uintptr_t>(given));
  const auto array = nb::cast<Array>(given, false);
  if (static_cast<int64_t>(array.size()) != size)
    throw Error(ErrorKind::Shape, std::string(name) + " must have " + std::to_string(size) + " elements, not " +
                                      std::to_string(array.size()));
  return array.data();
}

void gradients(const Kernel& kernel, nb::handle d, nb::handle x, std::vector<int64_t> shape, bool channels_last,
               nb::handle copy, int64_t outputs, nb::handle scale, int64_t n_scales, nb::handle z, float bound, float range,
               bool clips, float decay, float wanted, nb::handle dx, nb::handle dw, nb::handle db, nb::handle dr) {
  const Patches patches(std::move(shape), kernel);
  const int64_t samples = patches.samples(), elements = patches.elements(), size = samples * outputs, cells = outputs * elements;
  const LayerGradients call{patches,
                            {read_only_floats(d, size, "d"), samples, outputs, outputs},
                            read_only_floats(x, patches.numbers(), "x"),
                            channels_last && !patches.are_rows(),
                            {read_only_floats(copy, cells, "copy"), outputs, elements, elements},
                            read_only_floats(z, size, "z"),
                            bound,
                            range,
                            clips && range > 0.0f,
                            scales_of(scale, n_scales, outputs),
                            decay,
                            wanted,
                            floats(dx, patches.numbers(), "dx"),
                            floats(dw, cells, "dw"),
                            floats(db, outputs, "db"),
                            floats(dr, 1, "dr")};
  const bool empty = samples == 0;  // what has no elements may have no memory
  if (!empty && (call.d.data == nullptr || call.x == nullptr)) throw Error(ErrorKind::Shape, "d and x must be given");
  if (call.copy.data == nullptr && (call.dx != nullptr || call.dr != nullptr))
    throw Error(ErrorKind::Shape, "the copy of the weights is needed for the gradients of inputs and range");
  if (!empty && call.z == nullptr && (call.dr != nullptr || bound > 0.0f))
    throw Error(ErrorKind::Shape, "z is needed for the gradient of the range, and with a bound");
  if (call.dr != nullptr && range <= 0.0f) throw Error(ErrorKind::Shape, "there is no range whose gradient could be wanted");
  const nb::gil_scoped_release unlocked;
  layer_gradients(call);
}

}  // namespace

float* floats(nb::handle given, int64_t size, const char* name) {
  return memory_of<nb::ndarray<float, nb::c_contig, nb::device::cpu>>(given, size, name);
}

const float* read_only_floats(nb::handle given, int64_t size, const char* name) {
  return memory_of<nb::ndarray<const float, nb::c_contig, nb::device::cpu>>(given, size, name);
}

Scales scales_of(nb::handle given, int64_t n, int64_t outputs) {
  if (given.is_none()) return {nullptr, true};
  if (n != 1 && n != outputs) throw Error(ErrorKind::Shape, "there must be one scale per output, or one");
  return {read_only_floats(given, n, "the scales"), n == 1};
}

void bind_layer(nb::module_& m) {
  nb::class_<Kernel>(m, "Kernel", "Size, stride and dilation of a kernel; without dimensions, samples are rows.")
      .def("__init__", [](Kernel* self, std::vector<int64_t> size, std::vector<int64_t> stride, std::vector<int64_t> dilation) {
        new (self) Kernel{std::move(size), std::move(stride), std::move(dilation)};
      }, nb::arg("size"), nb::arg("stride"), nb::arg("dilation"));

  m.def("layer_gradients", &gradients, nb::arg("kernel"), nb::arg("d"), nb::arg("x"), nb::arg("shape"),
        nb::arg("channels_last"), nb::arg("copy").none(), nb::arg("outputs"), nb::arg("scale").none(), nb::arg("n_scales"),
        nb::arg("z").none(), nb::arg("bound"), nb::arg("range"), nb::arg("clips"), nb::arg("decay"), nb::arg("wanted"),
        nb::arg("dx").none(), nb::arg("dw").none(), nb::arg("db").none(), nb::arg("dr").none(),
        "Write the gradients of `AnalogProduct.layer` that are wanted; dx lies in memory as x.");
}

}  // namespace rpu::python
