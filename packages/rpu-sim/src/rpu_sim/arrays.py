"""The edge between array frameworks and the core: checks, and views without copies.

The core sees NumPy views. Inputs may come from NumPy, torch, JAX or any other DLPack producer on the CPU; outputs are
returned in the framework of the input.
"""

from __future__ import annotations

import contextlib
import functools
import math
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _core
from .errors import BackendError, DeviceError, DtypeError, ShapeError

Array = Any  # an array of any framework
Float32 = NDArray[np.float32]
FLOAT32 = np.dtype(np.float32)


def framework_of(array: Array) -> str:
    """``"numpy"``, ``"torch"``, ``"jax"`` or ``"dlpack"`` for another producer.

    Raises:
        DtypeError: when ``array`` is no array at all.
    """
    if isinstance(array, np.ndarray):
        return "numpy"
    root = type(array).__module__.partition(".")[0]
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(array, torch.Tensor):  # or of a class derived elsewhere
        return "torch"
    if root in ("jax", "jaxlib"):
        return "jax"
    if hasattr(array, "__dlpack__"):
        return "dlpack"
    raise DtypeError(f"expected an array, got {type(array).__name__}; convert it, for example with numpy.asarray(...)")


def _is_plain_tensor(array: Array, modules: dict[str, Any] = sys.modules) -> bool:
    return "torch" in modules and type(array) is modules["torch"].Tensor


@functools.cache
def _lend_to_core(tensor: type) -> None:
    """Let the core read tensors of torch without its Python functions, which take longer than a small product."""
    if hasattr(tensor, "__dlpack_c_exchange_api__"):  # from torch 2.10 on
        with contextlib.suppress(BackendError):  # of a later DLPack
            _core.name_tensors(tensor, tensor.__dlpack_c_exchange_api__)


def as_numpy(array: Array, name: str = "the array") -> NDArray[Any]:
    """A NumPy view of a CPU array of any framework."""
    if _is_plain_tensor(array):  # checked first: these calls are a good part of a small product
        kind: type = type(array)
        _lend_to_core(kind)
        try:
            return (array.detach() if array.requires_grad else array).numpy()  # type: ignore[no-any-return]
        except (RuntimeError, TypeError):  # on a GPU, sparse, ...: treated below
            pass
    framework = framework_of(array)
    if framework == "numpy":
        if isinstance(array, np.ma.MaskedArray):
            raise DtypeError(f"{name} is a masked array, whose mask would be lost; use {name}.filled(value)")
        return array  # type: ignore[no-any-return]
    if framework == "torch":
        if array.device.type != "cpu":
            raise DeviceError(f"{name} is on {array.device} but this tile computes on the CPU; use {name}.cpu()")
        return _dense(array, name)
    if framework == "jax":
        return np.asarray(array)
    try:
        return np.from_dlpack(array)
    except (BufferError, RuntimeError, ValueError) as error:
        raise DeviceError(f"{name} cannot be read on the CPU ({error}); move it there first") from None


def _dense(tensor: Any, name: str) -> NDArray[Any]:
    """A view of a tensor of torch on the CPU; a lazily negated or conjugated one is evaluated."""
    if tensor.layout is not sys.modules["torch"].strided or tensor.is_quantized or tensor.is_nested:
        raise DtypeError(f"{name} must be a dense tensor")
    try:
        return tensor.detach().resolve_conj().resolve_neg().numpy()  # type: ignore[no-any-return]
    except TypeError:  # a data type that NumPy does not have
        raise DtypeError(f"{name} has dtype {tensor.dtype}, which tiles cannot read; use {name}.float()") from None


def samples(array: Array, width: int, name: str) -> tuple[Float32, tuple[int, ...]]:
    """``array`` of shape [..., width] as a float32 matrix [batch, width], and its leading shape."""
    view = array if type(array) is np.ndarray else as_numpy(array, name)
    if view.dtype is not FLOAT32 and view.dtype != FLOAT32:  # the comparison is slow, and seldom needed
        raise DtypeError(f"{name} has dtype {view.dtype} but tiles compute in float32; convert it first")
    shape = view.shape
    if not shape or shape[-1] != width:
        raise ShapeError(f"{name} has shape {shape} but its last dimension must be {width}")
    if len(shape) != 2:
        view = view.reshape(-1, width) if view.size else np.empty((0, width), np.float32)
    if width > 1:
        row_stride, stride = view.strides
        if stride != 4 or row_stride % 4:
            view = np.ascontiguousarray(view)
    return view, shape[:-1]


def samples_or_windows(array: Array, width: int, leading: tuple[int, ...], name: str) -> Float32:
    """``array`` as a float32 matrix [batch, width], or as it is where its samples are windows of a larger array.

    Args:
        array: float32 [*leading, width], or [*leading, *window] with ``width`` elements in a window.
        width: Elements of a sample.
        leading: Shape of the batch.
        name: How messages call it.
    """
    view = array if type(array) is np.ndarray else as_numpy(array, name)
    if view.shape == (*leading, width):  # what follows is a good part of a small update
        return samples(view, width, name)[0]
    window = view.shape[len(leading) :]
    if view.shape[: len(leading)] != leading or (len(window) > 1 and math.prod(window) != width):
        raise ShapeError(
            f"{name} has shape {tuple(view.shape)} but d has leading shape {leading}; give one d per {name}, "
            f"with {width} elements"
        )
    if len(window) > 1:
        whole_elements = view.dtype == np.float32 and not any(stride % 4 for stride in view.strides)
        if not view.flags.c_contiguous and whole_elements and view.size:
            return view
        view = view.reshape(*leading, width)
    return samples(view, width, name)[0]


def blocks(windows: Float32, errors: Float32) -> Iterator[tuple[Float32, Float32]]:
    """Windows [n, ...] with their errors [batch, out], copied to matrices for one index of the first axis at a time."""
    if len(errors) % len(windows):  # a single sample, whose window has this axis
        windows = windows[None]
    per_block = len(errors) // len(windows)
    for i, block in enumerate(windows):
        yield np.ascontiguousarray(block.reshape(per_block, -1)), errors[i * per_block : (i + 1) * per_block]


def returner(array: Array) -> Callable[[Float32], Array]:
    """The function that turns a NumPy result into an array of the framework of ``array``."""
    if _is_plain_tensor(array) or framework_of(array) == "torch":
        from_numpy: Callable[[Float32], Array] = sys.modules["torch"].from_numpy
        return from_numpy
    if framework_of(array) == "jax":
        as_jax: Callable[[Float32], Array] = sys.modules["jax"].numpy.asarray
        return as_jax
    return lambda result: result


def empty_cells(shape: tuple[int, ...]) -> Float32:
    """A float32 array that starts at a cache line, so that packs of cells cross none; content arbitrary."""
    size = math.prod(shape)
    memory = np.empty(size + 15, np.float32)
    first = -memory.__array_interface__["data"][0] % 64 // 4
    return memory[first : first + size].reshape(shape)


def copied_cells(values: Float32) -> Float32:
    """A copy that starts at a cache line."""
    copy = empty_cells(values.shape)
    copy[...] = values
    return copy


def state_array(values: NDArray[Any], framework: str) -> Array:
    """``values`` as an array that holds state: a torch tensor on the same memory, or NumPy."""
    return sys.modules["torch"].from_numpy(values) if framework == "torch" else values


@functools.lru_cache(maxsize=16)
def _version_counter(kind: type) -> Callable[[Array], None] | None:
    if kind.__module__.partition(".")[0] != "torch":
        return None
    increment: Callable[[Array], None] = sys.modules["torch"].autograd.graph.increment_version
    return increment


def mark_written(array: Array) -> None:
    """Tell autograd that ``array`` was changed in place behind its back."""
    kind: type = type(array)
    increment = _version_counter(kind)
    if increment is not None:
        increment(array)
