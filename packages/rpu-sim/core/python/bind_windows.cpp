#include "../errors.hpp"
#include "../ops/windows.hpp"
#include "bindings.hpp"

namespace rpu::python {
namespace {

using StridedSums = nb::ndarray<float>;

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

bool fits_a_call(const StridedSamples& windows) {
  bool fits = windows.ndim() <= kMostAxes;
  for (size_t axis = 0; axis < windows.ndim(); ++axis) fits &= windows.stride(axis) >= 0;
  return fits;
}

CopyWindowsCall call_of(const StridedSamples& windows, int leading, float* rows) {
  CopyWindowsCall call{windows.data(), static_cast<int32_t>(windows.ndim()), leading, {}, {}, rows};
  for (size_t axis = 0; axis < windows.ndim(); ++axis)
    call.shape[axis] = static_cast<int64_t>(windows.shape(axis)), call.stride[axis] = windows.stride(axis);
  return call;
}

}  // namespace

void bind_windows(nb::module_& m) {
  m.def("copy_windows", [](const StridedSamples& windows, int leading, Weights rows) {
    const Place place(windows, rows);
    const Windows view = view_of(windows, leading, rows);
    const Accelerator* where = accelerator();
    if (where != nullptr && fits_a_call(windows)) {
      const CopyWindowsCall call = call_of(windows, leading, rows.data());
      return run_on(*where, Operation::copy_windows, &call);
    }
    if (place.gpu() != nullptr) throw Error(ErrorKind::Shape, "these windows have too many axes for a GPU; copy them first");
    const nb::gil_scoped_release unlocked;
    copy_windows(view, rows.data());
  }, nb::arg("windows").noconvert(), nb::arg("leading"), nb::arg("rows").noconvert(),
     "Copy windows, whose first `leading` axes count samples, to rows.");

  m.def("add_windows", [](Weights rows, StridedSums windows, int leading) {
    const Place place(windows, rows);
    if (place.gpu() != nullptr) throw Error(ErrorKind::Device, "add_windows has no kernel on a GPU; use torch.nn.functional.fold");
    const Windows view = view_of(windows, leading, rows);
    const int64_t parts = parts_of(windows, leading);
    const nb::gil_scoped_release unlocked;
    add_windows(view, rows.data(), windows.data(), parts);
  }, nb::arg("rows").noconvert(), nb::arg("windows").noconvert(), nb::arg("leading"),
     "Add rows to windows, which may overlap, in the order of the samples.");
}

}  // namespace rpu::python
