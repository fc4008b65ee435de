"""Windows of an array, such as the patches that a convolution sees: copied to rows, and rows added to them.

A window is a strided view that overlaps with its neighbours: that of `numpy.lib.stride_tricks.sliding_window_view`, or
of `torch.Tensor.unfold`. Both functions work in parallel and in a fixed order, so that bits depend neither on threads
nor on the device.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from . import _core
from .arrays import Array, framework_of
from .errors import DeviceError, DtypeError, ShapeError
from .gpu import GpuArray, GpuSpace, Host, space_of


def copy_windows(windows: Array, leading: int) -> Array:
    """Return the windows as rows.

    Args:
        windows: float32 [*samples, *window] of any framework, on the CPU or on a GPU.
        leading: Number of the leading axes that count samples.

    Returns:
        float32 [samples, elements of a window], in the framework and on the device of ``windows``.

    Raises:
        DtypeError, ShapeError: for another data type, or fewer axes; on a GPU also for more than 12 axes.
    """
    space = space_of(windows)
    view = _checked(space, windows, leading, "windows")
    rows = space.result(view, _shape_of_rows(view, leading))
    _core.copy_windows(view, leading, rows)
    return space.returned(rows, windows)


def add_windows(rows: Array, windows: Array, leading: int) -> None:
    """Add rows to windows in place, one after the other where they overlap: the adjoint of `copy_windows`.

    Args:
        rows: float32 [samples, elements of a window].
        windows: float32 [*samples, *window], a writeable view. On a GPU they may overlap along three axes of the array
            at most, and along each of them by one axis that counts samples and one of the window.
        leading: Number of the leading axes that count samples.

    Raises:
        DeviceError: if rows and windows lie on different devices.
        DtypeError, ShapeError: for another data type or shape; nothing is added then.
    """
    space, place = space_of(windows), space_of(rows)
    if space is not place:
        raise DeviceError(f"the rows are on {place.name} but the windows on {space.name}; move one of them")
    view, values = _checked(space, windows, leading, "windows"), _contiguous(_checked(space, rows, 1, "rows"))
    shape = _shape_of_rows(view, leading)
    if tuple(values.shape) != shape:
        found = tuple(values.shape)
        raise ShapeError(f"rows have the shape {found} but the windows are {shape[0]} of {shape[1]} elements")
    if isinstance(view, np.ndarray) and not view.flags.writeable:
        raise ShapeError("the windows must be writeable; sliding_window_view has writeable=True for that")
    _core.add_windows(values, view, leading)


def _checked(space: Host | GpuSpace, array: Array, leading: int, name: str) -> Any:
    view = space.borrow(array, name)
    if str(view.dtype).removeprefix("torch.") != "float32":
        raise DtypeError(f"{name} have dtype {view.dtype} but must be float32; convert them first")
    if not 0 < leading <= view.ndim:
        raise ShapeError(f"{name} have {view.ndim} axes, of which {leading} cannot count samples")
    if isinstance(view, np.ndarray) and any(stride % 4 for stride in view.strides):
        return np.ascontiguousarray(view)
    return view


def _shape_of_rows(view: Any, leading: int) -> tuple[int, int]:
    return math.prod(view.shape[:leading]), math.prod(view.shape[leading:])


def _contiguous(view: Any) -> Any:
    if isinstance(view, GpuArray):
        return view
    return view.contiguous() if framework_of(view) == "torch" else np.ascontiguousarray(view)  # CuPy's where it is CuPy
