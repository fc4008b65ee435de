#include <nanobind/stl/vector.h>

#include "../errors.hpp"
#include "../ops/weights.hpp"
#include "bindings.hpp"
#include "from_python.hpp"

namespace rpu::python {
namespace {

using Copies = nb::ndarray<float, nb::ndim<3>, nb::c_contig>;
using Scales = Vector;

Matrix same_shape(const Weights& out, const ConstMatrix& source) {
  if (static_cast<int64_t>(out.shape(0)) != source.rows || static_cast<int64_t>(out.shape(1)) != source.cols)
    throw Error(ErrorKind::Shape, "the result must have the shape of the weights");
  return {out.data(), source.rows, source.cols, source.cols};
}

ConstMatrix source_view(const Samples& w) { return batch_view(w, static_cast<int64_t>(w.shape(1)), "w"); }

}  // namespace

void bind_weights(nb::module_& m) {
  nb::class_<ModifierSpec>(m, "ModifierSpec", "What is done to a modified copy of the weights.")
      .def("__init__", [](ModifierSpec* self, nb::handle dataclass, std::vector<float> noise, float log_time, float read_noise) {
        new (self) ModifierSpec{from_python<params::WeightModifierParameter>(dataclass), std::move(noise), log_time, read_noise};
      }, nb::arg("dataclass"), nb::arg("noise"), nb::arg("log_time"), nb::arg("read_noise"));

  m.def("modify_weights", [](const ModifierSpec& spec, Samples w, Copies out, uint64_t seed, uint32_t step, uint32_t first_sample) {
    const Place place(w, out);
    const ConstMatrix source = source_view(w);
    if (static_cast<int64_t>(out.shape(1)) != source.rows || static_cast<int64_t>(out.shape(2)) != source.cols)
      throw Error(ErrorKind::Shape, "the copies must have the shape of the weights");
    const nb::gil_scoped_release unlocked;
    modify_weights(spec, source, out.data(), static_cast<int64_t>(out.shape(0)), seed, step, first_sample);
  }, nb::arg("spec"), nb::arg("w").noconvert(), nb::arg("out").noconvert(), nb::arg("seed"), nb::arg("step"),
     nb::arg("first_sample"), "Modified copies of the weights.");

  m.def("clip_weights", [](nb::handle dataclass, Samples w, Weights out) {
    const Place place(w, out);
    const auto parameters = from_python<params::WeightClipParameter>(dataclass);
    const ConstMatrix source = source_view(w);
    const Matrix result = same_shape(out, source);
    const nb::gil_scoped_release unlocked;
    clip_weights(parameters, source, result);
  }, nb::arg("dataclass"), nb::arg("w").noconvert(), nb::arg("out").noconvert(), "Clip to a bound.");

  nb::class_<params::WeightClipParameter>(m, "ClipSpec", "The bound of weights.")
      .def("__init__", [](params::WeightClipParameter* self, nb::handle dataclass) {
        new (self) params::WeightClipParameter{from_python<params::WeightClipParameter>(dataclass)};
      }, nb::arg("dataclass"));

  m.def("is_clipped", [](const params::WeightClipParameter& spec, Samples w) {
    const Place place(w);
    const ConstMatrix source = source_view(w);
    const nb::gil_scoped_release unlocked;
    return is_clipped(spec, source);
  }, nb::arg("spec"), nb::arg("w").noconvert(), "Whether clipping to a bound would change nothing.");

  m.def("clip_in_place", [](const params::WeightClipParameter& spec, nb::handle w, int64_t rows, int64_t cols, nb::handle scales,
                            int64_t n_scales) {
    const Matrix matrix{floats(w, rows * cols, "w"), rows, cols, cols};
    const rpu::Scales s = scales_of(scales, n_scales, rows);
    const nb::gil_scoped_release unlocked;
    return clip_in_place(spec, matrix, s.data, s.one);
  }, nb::arg("spec"), nb::arg("w"), nb::arg("rows"), nb::arg("cols"), nb::arg("scales").none(), nb::arg("n_scales"),
     "Clip w / scales to a bound, in w, whose other elements keep their bits; returns whether any was beyond it.");

  m.def("remap_weights", [](nb::handle dataclass, Samples w, Weights out, Scales scales) {
    const Place place(w, out, scales);
    const auto parameters = from_python<params::WeightRemapParameter>(dataclass);
    const ConstMatrix source = source_view(w);
    const Matrix result = same_shape(out, source);
    if (static_cast<int64_t>(scales.shape(0)) != source.rows) throw Error(ErrorKind::Shape, "there must be one scale per output");
    const nb::gil_scoped_release unlocked;
    remap_weights(parameters, source, result, scales.data());
  }, nb::arg("dataclass"), nb::arg("w").noconvert(), nb::arg("out").noconvert(), nb::arg("scales").noconvert(),
     "Rescale to the range of the devices; the scales are changed in place.");
}

}  // namespace rpu::python
