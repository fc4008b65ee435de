#include "../errors.hpp"
#include "../ops/windows.hpp"
#include "bindings.hpp"

namespace rpu::python {
namespace {

using StridedSums = nb::ndarray<float, nb::device::cpu>;

template <class Array> Windows view_of(const Array& array, int leading, const Weights& rows) {
  if (leading < 0 || leading > static_cast<int>(array.ndim())) throw Error(ErrorKind::Shape, "windows have fewer axes than that");
  const Windows view = windows_of(array, leading);
  if (static_cast<int64_t>(rows.shape(0)) != view.samples() || static_cast<int64_t>(rows.shape(1)) != view.elements())
    throw Error(ErrorKind::Shape, "there must be one row for each window");
  return view;
}

/// How many parts of the samples lie apart in memory: those of the first axis, unless they overlap.
int64_t parts_of(const StridedSums& array, int leading) {
  if (leading == 0 || array.size() == 0) return 1;
  int64_t extent = 1;
  for (size_t axis = 1; axis < array.ndim(); ++axis) {
    if (array.stride(axis) < 0) return 1;
    extent += (static_cast<int64_t>(array.shape(axis)) - 1) * array.stride(axis);
  }
  return array.stride(0) >= extent ? static_cast<int64_t>(array.shape(0)) : 1;
}

}  // namespace

void bind_windows(nb::module_& m) {
  m.def("copy_windows", [](const StridedSamples& windows, int leading, Weights rows) {
    const Windows view = view_of(windows, leading, rows);
    const nb::gil_scoped_release unlocked;
    copy_windows(view, rows.data());
  }, nb::arg("windows").noconvert(), nb::arg("leading"), nb::arg("rows").noconvert(),
     "Copy windows, whose first `leading` axes count samples, to rows.");

  m.def("add_windows", [](Weights rows, StridedSums windows, int leading) {
    const Windows view = view_of(windows, leading, rows);
    const int64_t parts = parts_of(windows, leading);
    const nb::gil_scoped_release unlocked;
    add_windows(view, rows.data(), windows.data(), parts);
  }, nb::arg("rows").noconvert(), nb::arg("windows").noconvert(), nb::arg("leading"),
     "Add rows to windows, which may overlap, in the order of the samples.");
}

}  // namespace rpu::python
