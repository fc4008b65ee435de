#include "../bodies/overlaps.hpp"
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

/// The axes of windows as a call takes them; none where they have too many, or run backwards.
template <class Array> std::optional<WindowAxes> axes_of(const Array& windows) {
  if (windows.ndim() > kMostAxes) return {};
  WindowAxes axes{static_cast<int32_t>(windows.ndim()), {}, {}};
  for (size_t axis = 0; axis < windows.ndim(); ++axis) {
    if (windows.stride(axis) < 0) return {};
    axes.shape[axis] = static_cast<int64_t>(windows.shape(axis)), axes.stride[axis] = windows.stride(axis);
  }
  return axes;
}

bool can_add(const WindowAxes& axes) {
  Overlaps overlaps;
  return axes.elements() == 0 || find_overlaps(axes, &overlaps);
}

/// Throws where a GPU has no kernel for windows that lie on it.
void must_be_on_host(const Place& place) {
  if (place.gpu() != nullptr)
    throw Error(ErrorKind::Shape, "a GPU has no kernel for windows with these strides; copy or add them on the host");
}

}  // namespace

void bind_windows(nb::module_& m) {
  m.def("copy_windows", [](const StridedSamples& windows, int leading, Weights rows) {
    const Place place(windows, rows);
    const Windows view = view_of(windows, leading, rows);
    const std::optional<WindowAxes> axes = axes_of(windows);
    if (axes && runs_elsewhere(Operation::copy_windows, CopyWindowsCall{windows.data(), *axes, rows.data()})) return;
    must_be_on_host(place);
    const nb::gil_scoped_release unlocked;
    copy_windows(view, rows.data());
  }, nb::arg("windows").noconvert(), nb::arg("leading"), nb::arg("rows").noconvert(),
     "Copy windows, whose first `leading` axes count samples, to rows.");

  m.def("add_windows", [](Weights rows, StridedSums windows, int leading) {
    const Place place(windows, rows);
    const Windows view = view_of(windows, leading, rows);
    const std::optional<WindowAxes> axes = axes_of(windows);
    if (axes && can_add(*axes) && runs_elsewhere(Operation::add_windows, AddWindowsCall{rows.data(), *axes, windows.data()}))
      return;
    must_be_on_host(place);
    const int64_t parts = parts_of(windows, leading);
    const nb::gil_scoped_release unlocked;
    add_windows(view, rows.data(), windows.data(), parts);
  }, nb::arg("rows").noconvert(), nb::arg("windows").noconvert(), nb::arg("leading"),
     "Add rows to windows, which may overlap, in the order of the samples.");
}

}  // namespace rpu::python
