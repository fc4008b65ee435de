#include <nanobind/stl/optional.h>

#include "../cpu/float_environment.hpp"
#include "../errors.hpp"
#include "../ops/transfer.hpp"
#include "bindings.hpp"

namespace rpu::python {
namespace {

using StepCounts = nb::ndarray<int32_t, nb::ndim<2>, nb::c_contig>;

}  // namespace

Buffer::Buffer(Weights buffer, Vector out_sign, std::optional<Weights> mean, std::optional<Weights> past, float threshold,
               float most_steps, float kept, bool forgets, bool keeps, float cap, float mean_weight)
    : rule_{threshold, most_steps, kept, forgets, keeps, cap, mean_weight},
      buffer_(std::move(buffer)),
      out_sign_(std::move(out_sign)),
      mean_(std::move(mean)),
      past_(std::move(past)) {
  Place::check(buffer_, out_sign_, mean_, past_);
  for (const auto* array : {&mean_, &past_})
    if (*array && ((*array)->shape(0) != buffer_.shape(0) || (*array)->shape(1) != buffer_.shape(1)))
      throw Error(ErrorKind::Shape, "the arrays of a buffer must have one shape");
  if (out_sign_.shape(0) != buffer_.shape(1)) throw Error(ErrorKind::Shape, "out_sign must have one value per element");
}

TransferBuffer Buffer::view() const {
  const auto data = [](const std::optional<Weights>& array) { return array ? array->data() : nullptr; };
  return {rule_, static_cast<int64_t>(buffer_.shape(1)), buffer_.data(), out_sign_.data(), data(mean_), data(past_)};
}

namespace {

bool take(const Buffer& buffer, const Samples& read, const Weights& steps, int64_t slice, float gain, bool starts_phase) {
  const Place place(buffer, read, steps);
  const TransferBuffer view = buffer.view();
  if (slice < 0 || slice >= buffer.slices() || static_cast<int64_t>(read.shape(1)) != view.elements ||
      static_cast<int64_t>(steps.shape(1)) != view.elements || read.shape(0) != 1 || steps.shape(0) != 1)
    throw Error(ErrorKind::Shape, "read and steps must have one row of the elements of a slice");
  const FloatEnvironment pinned;
  return view.take(slice, read.data(), gain, starts_phase, steps.data());
}

}  // namespace

void bind_transfer(nb::module_& m) {
  nb::class_<Buffer>(m, "TransferBuffer", "Digital buffer between two arrays.")
      .def(nb::init<Weights, Vector, std::optional<Weights>, std::optional<Weights>, float, float, float, bool, bool, float,
                    float>(),
           nb::arg("buffer").noconvert(), nb::arg("out_sign").noconvert(), nb::arg("mean").noconvert(), nb::arg("past").noconvert(),
           nb::arg("threshold"), nb::arg("most_steps"), nb::arg("kept"), nb::arg("forgets"), nb::arg("keeps"), nb::arg("cap"),
           nb::arg("mean_weight"))
      .def("__call__", &take, nb::arg("read").noconvert(), nb::arg("steps").noconvert(), nb::arg("slice"),
           nb::arg("gain"), nb::arg("starts_phase"), "Add a read and take whole steps; returns whether there are any.");

  m.def("take_whole_steps", [](const Weights& chi, const StepCounts& counts, float threshold, float most, int64_t first, int64_t n) {
    const auto rows = static_cast<int64_t>(chi.shape(0)), cols = static_cast<int64_t>(chi.shape(1));
    if (counts.shape(0) != chi.shape(0) || counts.shape(1) != chi.shape(1) || first < 0 || first >= rows || n < 0 || n > rows)
      throw Error(ErrorKind::Shape, "counts must have the shape of chi, which must have these rows");
    const Place place(chi, counts);
    const FloatEnvironment pinned;
    const nb::gil_scoped_release unlocked;
    return take_whole_steps({chi.data(), rows, cols, cols}, threshold, most, first, n, counts.data());
  }, nb::arg("chi").noconvert(), nb::arg("counts").noconvert(), nb::arg("threshold"), nb::arg("most"), nb::arg("first_row"),
     nb::arg("n_rows"), "Take whole steps out of rows of chi, as numbers of pulses; returns the largest number.");
}

}  // namespace rpu::python
