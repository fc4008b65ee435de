"""Windows of an array, such as the patches that a convolution sees: copied to rows, and rows added to them.

A window is a strided view that overlaps with its neighbours: that of `numpy.lib.stride_tricks.sliding_window_view`, or
of `torch.Tensor.unfold`. Both functions work in parallel and in a fixed order, so that bits do not depend on threads.
"""

from __future__ import annotations

import math

import numpy as np

from . import _core
from .arrays import Array, Float32, as_numpy, returner
from .errors import DtypeError, ShapeError


def copy_windows(windows: Array, leading: int) -> Array:
    """Return the windows as rows.

    Args:
        windows: float32 [*samples, *window] of any framework on the CPU.
        leading: Number of the leading axes that count samples.

    Returns:
        float32 [samples, elements of a window], in the framework of ``windows``.

    Raises:
        DtypeError, ShapeError: for another data type, or fewer axes.
    """
    view = _checked(windows, leading, "windows")
    rows: Float32 = np.empty((math.prod(view.shape[:leading]), math.prod(view.shape[leading:])), np.float32)
    _core.copy_windows(view, leading, rows)
    return returner(windows)(rows)


def add_windows(rows: Array, windows: Array, leading: int) -> None:
    """Add rows to windows in place, one after the other where they overlap: the adjoint of `copy_windows`.

    Args:
        rows: float32 [samples, elements of a window].
        windows: float32 [*samples, *window], a writeable view.
        leading: Number of the leading axes that count samples.

    Raises:
        DtypeError, ShapeError: for another data type or shape; nothing is added then.
    """
    view, values = _checked(windows, leading, "windows"), np.ascontiguousarray(_checked(rows, 1, "rows"))
    shape = (math.prod(view.shape[:leading]), math.prod(view.shape[leading:]))
    if values.shape != shape:
        raise ShapeError(f"rows have the shape {values.shape} but the windows are {shape[0]} of {shape[1]} elements")
    if not view.flags.writeable:
        raise ShapeError("the windows must be writeable; sliding_window_view has writeable=True for that")
    _core.add_windows(values, view, leading)


def _checked(array: Array, leading: int, name: str) -> Float32:
    view = as_numpy(array, name)
    if view.dtype != np.float32:
        raise DtypeError(f"{name} have dtype {view.dtype} but must be float32; convert them first")
    if not 0 < leading <= view.ndim:
        raise ShapeError(f"{name} have {view.ndim} axes, of which {leading} cannot count samples")
    return view if not any(stride % 4 for stride in view.strides) else np.ascontiguousarray(view)
