#include <nanobind/stl/optional.h>
#include <nanobind/stl/vector.h>

#include <numeric>

#include "../errors.hpp"
#include "../ops/layer_product.hpp"
#include "bindings.hpp"

namespace rpu::python {
namespace {

using Image = nb::ndarray<float>;

std::vector<int64_t> shape_of(const StridedSamples& x) {
  std::vector<int64_t> shape;
  for (size_t axis = 0; axis < x.ndim(); ++axis) shape.push_back(static_cast<int64_t>(x.shape(axis)));
  return shape;
}

/// Samples, then the axes of the images, then channels.
std::vector<size_t> with_channels_last(size_t axes) {
  std::vector<size_t> order{0};
  for (size_t axis = 2; axis < axes; ++axis) order.push_back(axis);
  order.push_back(1);
  return order;
}

template <class Array> float* data_of(const std::optional<Array>& array) { return array ? array->data() : nullptr; }

template <class Array> void require_size(const std::optional<Array>& array, int64_t size, const char* name) {
  if (array && static_cast<int64_t>(array->size()) != size)
    throw Error(ErrorKind::Shape, std::string(name) + " must have " + std::to_string(size) + " elements");
}

void gradients(const Kernel& kernel, const Weights& d, const StridedSamples& x, const Weights& copy,
               const std::optional<Vector>& scale, const std::optional<Weights>& z, float bound, float range, bool clips,
               float decay, float wanted, const std::optional<Image>& dx, const std::optional<Weights>& dw,
               const std::optional<Vector>& db, const std::optional<Vector>& dr) {
  const Place place(d, x, copy);
  if (place.gpu() != nullptr) throw Error(ErrorKind::Device, "the gradients of layers are found in one call on the CPU only");
  const LayerInputs inputs(x, kernel);
  const auto samples = static_cast<int64_t>(d.shape(0)), outputs = static_cast<int64_t>(d.shape(1));
  const int64_t elements = inputs.patches.elements();
  if (samples != inputs.patches.samples() || static_cast<int64_t>(copy.shape(0)) != outputs ||
      static_cast<int64_t>(copy.shape(1)) != elements)
    throw Error(ErrorKind::Shape, "d must have one row per sample, and the copy one row per output and one column per input");
  require_size(z, samples * outputs, "z");
  require_size(dx, inputs.patches.numbers(), "dx");
  require_size(dw, outputs * elements, "dw");
  require_size(db, outputs, "db");
  require_size(dr, 1, "dr");
  if (!z && (dr || bound > 0.0f)) throw Error(ErrorKind::Shape, "z is needed for the gradient of the range, and with a bound");
  if (dr && range <= 0.0f) throw Error(ErrorKind::Shape, "there is no range whose gradient could be wanted");
  const ConstMatrix errors{d.data(), samples, outputs, outputs}, read{copy.data(), outputs, elements, elements};
  const LayerGradients call{inputs.patches, errors, x.data(), inputs.channels_last, read, data_of(z), bound, range,
                            clips && range > 0.0f, scales_of(scale, outputs), decay, wanted, data_of(dx), data_of(dw),
                            data_of(db), data_of(dr)};
  const nb::gil_scoped_release unlocked;
  layer_gradients(call);
}

}  // namespace

bool lies_in_order(const StridedSamples& array, const std::vector<size_t>& axes) {
  int64_t distance = 1;
  for (size_t i = axes.size(); i-- > 0;) {
    const auto n = static_cast<int64_t>(array.shape(axes[i]));
    if (n != 1 && array.stride(axes[i]) != distance) return false;
    distance *= n;
  }
  return true;
}

LayerInputs::LayerInputs(const StridedSamples& x, const Kernel& kernel) : patches(shape_of(x), kernel), channels_last(false) {
  std::vector<size_t> order(x.ndim());
  std::iota(order.begin(), order.end(), size_t{0});
  if (x.size() == 0 || lies_in_order(x, order)) return;
  channels_last = !patches.are_rows() && lies_in_order(x, with_channels_last(x.ndim()));
  if (!channels_last) throw Error(ErrorKind::Shape, "x must be contiguous, or with its channels last");
}

Scales scales_of(const std::optional<Vector>& scale, int64_t outputs) {
  if (!scale) return {nullptr, true};
  const auto n = static_cast<int64_t>(scale->shape(0));
  if (n != 1 && n != outputs) throw Error(ErrorKind::Shape, "there must be one scale per output, or one");
  return {scale->data(), n == 1};
}

void bind_layer(nb::module_& m) {
  nb::class_<Kernel>(m, "Kernel", "Size, stride and dilation of a kernel; without dimensions, samples are rows.")
      .def("__init__", [](Kernel* self, std::vector<int64_t> size, std::vector<int64_t> stride, std::vector<int64_t> dilation) {
        new (self) Kernel{std::move(size), std::move(stride), std::move(dilation)};
      }, nb::arg("size"), nb::arg("stride"), nb::arg("dilation"));

  m.def("layer_gradients", &gradients, nb::arg("kernel"), nb::arg("d").noconvert(), nb::arg("x").noconvert(),
        nb::arg("copy").noconvert(), nb::arg("scale").noconvert().none(), nb::arg("z").noconvert().none(), nb::arg("bound"),
        nb::arg("range"), nb::arg("clips"), nb::arg("decay"), nb::arg("wanted"), nb::arg("dx").noconvert().none(),
        nb::arg("dw").noconvert().none(), nb::arg("db").noconvert().none(), nb::arg("dr").noconvert().none(),
        "Write the gradients of `AnalogProduct.layer` that are wanted; dx lies in memory as x.");
}

}  // namespace rpu::python
