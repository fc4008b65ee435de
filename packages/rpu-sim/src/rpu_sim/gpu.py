"""Arrays on a GPU, and what the host logic of tiles does with arrays wherever they lie.

A tile works in a *space*: `HOST`, whose arrays are NumPy's, or a `GpuSpace`, whose arrays are `GpuArray`. Calls of the
core go where their arrays lie. They are queued on the current stream of torch if it uses CUDA, else of CuPy, else on
the default stream, and take their memory from torch's allocator in the first case.
"""

from __future__ import annotations

import functools
import math
import sys
from typing import Any, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

from . import _core, arrays, cuda
from .arrays import Array, Float32, as_numpy, copied_cells, empty_cells, framework_of
from .errors import DeviceError, DtypeError, NonFiniteError, ShapeError

# Device types of DLPack: of the memory of GPUs, of memory that moves between host and GPU, and of the emulated GPUs.
_CUDA, _MANAGED, _EXTENSION = 2, 13, 12


class Runtime:
    """What the core asks about a GPU: the stream of the moment, and memory of a framework."""

    def __init__(self, index: int) -> None:
        self.index = index
        self._streams: dict[int, Any] = {}  # those of torch that calls were queued on, by their handles
        self._held: dict[int, tuple[Any, int]] = {}  # memory of torch by its address, and the stream it was taken on

    def stream(self) -> int:
        """The handle of the current stream."""
        if (torch := _torch_with_cuda()) is not None:
            current = torch.cuda.current_stream(self.index)
            handle = int(current.cuda_stream)
            if handle not in self._streams:
                self._streams[handle] = current
            return handle
        cupy = sys.modules.get("cupy")
        return 0 if cupy is None else int(cupy.cuda.get_current_stream(self.index).ptr)

    def allocate(self, n_bytes: int, stream: int) -> int:
        """Address of memory from torch's allocator, to use on the current stream; 0 leaves it to the plugin."""
        torch = _torch_with_cuda()
        if torch is None:
            return 0
        memory = torch.empty(n_bytes, dtype=torch.uint8, device=f"cuda:{self.index}")
        address = int(memory.data_ptr())
        self._held[address] = memory, stream
        return address

    def release(self, address: int, lasting: bool) -> None:
        """Give back what `allocate` gave.

        What outlasts a call may be in use on any stream that calls were queued on, and torch must not give it to others
        before these have done what is queued on them.
        """
        memory, home = self._held.pop(address)
        if lasting:
            for handle, stream in self._streams.items():
                if handle != home:
                    memory.record_stream(stream)


def _torch_with_cuda() -> Any:
    """torch if it uses CUDA in this process."""
    torch = sys.modules.get("torch")
    return torch if torch is not None and torch.cuda.is_initialized() else None


class GpuArray:
    """A C-contiguous array on a GPU, for who has neither torch nor CuPy; both read it in place through DLPack.

    Attributes:
        space: The GPU.
        shape: The shape.
        dtype: float32, int32 or int64.
    """

    def __init__(self, space: GpuSpace, shape: tuple[int, ...], dtype: DTypeLike, owner: Any, address: int) -> None:
        self.space, self.shape, self.dtype = space, shape, np.dtype(dtype)
        self._owner, self._address = owner, address
        self._view = _core.gpu_view(owner, address, *space.dlpack, list(shape), self.dtype.name)

    def __dlpack__(self, **options: Any) -> Any:
        return self._view.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.space.dlpack

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise DeviceError(f"this array is on {self.device}; copy it to the host with its method numpy()")

    def __len__(self) -> int:
        return self.shape[0]

    def __repr__(self) -> str:
        return f"GpuArray({self.shape}, {self.dtype}, {self.device})"

    @property
    def device(self) -> str:
        """The GPU, such as ``"cuda:0"``."""
        return self.space.name

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def numpy(self) -> NDArray[Any]:
        """A copy on the host; waits for the GPU."""
        result = np.empty(self.shape, self.dtype)
        _core.copy(result, self._view)
        return result

    def copy(self) -> GpuArray:
        """A copy on the same GPU."""
        result = self.space.empty(self.shape, self.dtype)
        _core.copy(result._view, self._view)
        return result

    def reshape(self, *shape: int) -> GpuArray:
        """The same memory with another shape, in which one size may be -1."""
        known = math.prod(n for n in shape if n >= 0)
        size = math.prod(self.shape)
        full = tuple(size // known if n < 0 and known else max(n, 0) for n in shape)
        if math.prod(full) != size:
            raise ShapeError(f"an array of shape {self.shape} cannot take the shape {shape}")
        return GpuArray(self.space, full, self.dtype, self._owner, self._address)

    def __getitem__(self, key: slice | int) -> GpuArray:
        """Neighbouring elements of the first axis, on the same memory."""
        first, last, step = (key if isinstance(key, slice) else slice(key, key + 1)).indices(len(self))
        if step != 1:
            raise ShapeError("an array on a GPU gives neighbouring rows only; copy it with numpy() for others")
        row = math.prod(self.shape[1:])
        shape = (max(last - first, 0), *self.shape[1:]) if isinstance(key, slice) else self.shape[1:]
        return GpuArray(self.space, shape, self.dtype, self._owner, self._address + first * row * self.dtype.itemsize)

    def __setitem__(self, key: Any, value: Any) -> None:
        """Write all of it with ``[...]``, or rows: a number, or an array of that shape on the host or this GPU."""
        target = self if key is Ellipsis else self[key]
        if isinstance(value, (int, float, np.generic)):
            value = np.full(target.shape, value, self.dtype)
        elif isinstance(value, np.ndarray):
            value = np.ascontiguousarray(np.broadcast_to(value, target.shape), self.dtype)
        elif framework_of(value) == "torch":
            value = value.detach().contiguous()
        _core.copy(target._view, value)


class Space(Protocol):
    """Where the arrays of a tile lie, and what its host logic does with them there."""

    name: str

    def empty(self, shape: tuple[int, ...], dtype: DTypeLike = np.float32) -> Any:
        """An array of arbitrary content."""

    def put(self, values: Any) -> Any:
        """A copy in this space of an array of any space."""

    def at(self, values: NDArray[Any]) -> Any:
        """An array of the host in this space: itself, or a copy."""

    def combine(
        self, out: Any, source: Any, factor: float = 1.0, *, adds: bool = False, rows: Any = None, columns: Any = None
    ) -> None:
        """Write ``factor * source``, times a factor of each row and column, to ``out``, or add it."""

    def scaled(self, values: Any, rows: Float32) -> Any:
        """A new matrix: values times a factor of each row."""

    def borrow(self, array: Array, name: str = "the array") -> Any:
        """An array of any framework in this space as the core takes it, without gradient; nothing is copied."""

    def samples(self, array: Array, width: int, name: str) -> tuple[Any, tuple[int, ...]]:
        """``array`` of shape [..., width] as a float32 matrix [batch, width], and its leading shape."""

    def windows(self, array: Array, width: int, leading: tuple[int, ...], name: str) -> Any:
        """``array`` of shape [*leading, *window] as a matrix, or on the host windows as they are; see `arrays`."""

    def result(self, view: Any, shape: tuple[int, ...]) -> Any:
        """A float32 array for results, of arbitrary content; ``view`` is the input as `samples` returned it."""

    def write(self, target: Any, values: NDArray[Any]) -> None:
        """Write values of the host to a result."""

    def returned(self, result: Any, array: Array) -> Array:
        """A result in the framework of ``array``."""


class Host:
    """The space of NumPy arrays."""

    name = "cpu"

    def empty(self, shape: tuple[int, ...], dtype: DTypeLike = np.float32) -> Any:
        return empty_cells(shape) if dtype == np.float32 else np.empty(shape, dtype)

    def put(self, values: Any) -> Any:
        values = host(values)
        return copied_cells(values) if values.dtype == np.float32 else values.copy()

    def at(self, values: NDArray[Any]) -> Any:
        return values

    def combine(
        self, out: Any, source: Any, factor: float = 1.0, *, adds: bool = False, rows: Any = None, columns: Any = None
    ) -> None:
        if not adds:
            np.multiply(source, np.float32(factor), out=out)
            if rows is not None and columns is not None:
                out *= np.outer(rows, columns)
        elif abs(factor) == 1.0:  # saves a pass over the array
            (np.add if factor > 0.0 else np.subtract)(out, source, out=out)
        else:
            out += np.float32(factor) * source

    def scaled(self, values: Any, rows: Float32) -> Any:
        return values * rows[:, None]

    def borrow(self, array: Array, name: str = "the array") -> Any:
        return as_numpy(array, name)

    samples = staticmethod(arrays.samples)
    windows = staticmethod(arrays.samples_or_windows)

    def result(self, view: Any, shape: tuple[int, ...]) -> Any:
        return np.empty(shape, np.float32)

    def write(self, target: Any, values: NDArray[Any]) -> None:
        target[...] = values

    def returned(self, result: Any, array: Array) -> Array:
        return arrays.returner(array)(result)


HOST = Host()


class GpuSpace:
    """A GPU.

    Attributes:
        name: Such as ``"cuda:0"``.
        dlpack: Type and index of the device in DLPack.
    """

    def __init__(self, library: str, index: int, kind: int) -> None:
        self.name, self.index = f"cuda:{index}", index
        self.dlpack: tuple[int, int] = (kind, index)
        _core.add_gpu(library, index, kind, Runtime(index))

    def empty(self, shape: tuple[int, ...], dtype: DTypeLike = np.float32) -> GpuArray:
        n_bytes = math.prod(shape) * np.dtype(dtype).itemsize
        memory = _core.GpuMemory(*self.dlpack, n_bytes)
        return GpuArray(self, tuple(shape), dtype, memory, memory.address)

    def borrowed(self, address: int, rows: int, columns: int) -> GpuArray:
        """A float32 matrix of the core, valid during a call."""
        return GpuArray(self, (rows, columns), np.float32, self, address)

    def put(self, values: Any) -> GpuArray:
        if isinstance(values, GpuArray) and values.space is not self:
            values = values.numpy()
        result = self.empty(values.shape, values.dtype)
        result[...] = values
        return result

    def at(self, values: NDArray[Any]) -> GpuArray:
        return self.put(values)

    def combine(
        self, out: Any, source: Any, factor: float = 1.0, *, adds: bool = False, rows: Any = None, columns: Any = None
    ) -> None:
        rows, columns = (None if factors is None else self.at(factors) for factors in (rows, columns))
        _core.combine(out, source, factor, adds, rows, columns)

    def scaled(self, values: Any, rows: Float32) -> GpuArray:
        result = self.empty(tuple(values.shape))
        self.combine(result, values, rows=rows)
        return result

    # -- arrays of callers -------------------------------------------------------------------------------------------

    def borrow(self, array: Array, name: str = "the array") -> Array:
        """``array`` without gradient; raises `DeviceError` unless torch, CuPy or this module holds it on this GPU."""
        framework = framework_of(array)
        if framework not in ("torch", "dlpack") or _dlpack_device(array) != self.dlpack:
            where = getattr(array, "device", "cpu")
            raise DeviceError(f"{name} is on {where} but this tile is on {self.name}; move one of them")
        return array.detach() if framework == "torch" else array

    def samples(self, array: Array, width: int, name: str) -> tuple[Array, tuple[int, ...]]:
        """``array`` of shape [..., width] as a float32 matrix [batch, width], and its leading shape."""
        view = _as_float32(self.borrow(array, name), name)
        if view.ndim == 0 or view.shape[-1] != width:
            raise ShapeError(f"{name} has shape {tuple(view.shape)} but its last dimension must be {width}")
        leading = tuple(int(n) for n in view.shape[:-1])
        if view.ndim != 2:
            view = view.reshape(math.prod(leading), width)
        return _contiguous(view), leading

    def windows(self, array: Array, width: int, leading: tuple[int, ...], name: str) -> Array:
        """``array`` of shape [*leading, *window] as a matrix [batch, width], gathered on this GPU."""
        if array.ndim == len(leading) + 1:
            view, found = self.samples(array, width, name)
        else:
            view = _as_float32(self.borrow(array, name), name)
            found = tuple(int(n) for n in array.shape[: len(leading)])
        if found != leading or math.prod(array.shape[len(leading) :]) != width:
            raise ShapeError(
                f"{name} has shape {tuple(array.shape)} but d has leading shape {leading}; give one d per {name}, "
                f"with {width} elements"
            )
        if array.ndim == len(leading) + 1:
            return view
        rows: Any = self.empty((math.prod(leading), width))
        _core.copy_windows(view, len(leading), rows)
        return rows

    def result(self, view: Any, shape: tuple[int, ...]) -> Any:
        if isinstance(view, GpuArray):
            return self.empty(shape)
        if framework_of(view) == "torch":
            return sys.modules["torch"].empty(shape, dtype=view.dtype, device=view.device)
        with view.device:
            return sys.modules["cupy"].empty(shape, np.float32)

    def write(self, target: Any, values: NDArray[Any]) -> None:
        _core.copy(target, np.ascontiguousarray(values))

    def returned(self, result: Any, array: Array) -> Array:
        if not _is_half(array):
            return result
        return result.to(array.dtype) if framework_of(array) == "torch" else result.astype(array.dtype)

    def synchronize(self) -> None:
        """Wait for all calls on the current stream.

        Raises:
            NonFiniteError: if an input of a call since the last time was NaN or infinite.
        """
        if _core.take_faults(*self.dlpack):
            raise NonFiniteError(
                f"an input on {self.name} contained NaN or infinity; its samples left the weights as they were and "
                "gave NaN"
            )


def _dtype_name(array: Array) -> str:
    return str(array.dtype).removeprefix("torch.")


def _is_half(array: Array) -> bool:
    return _dtype_name(array) in ("float16", "bfloat16")


def _as_float32(array: Array, name: str) -> Array:
    """``array`` in float32: itself, or a copy of one in half precision, which every float32 holds exactly."""
    if _dtype_name(array) == "float32":
        return array
    if not _is_half(array) or isinstance(array, GpuArray):
        raise DtypeError(f"{name} has dtype {array.dtype} but tiles compute in float32; convert it first")
    return array.float() if framework_of(array) == "torch" else array.astype(np.float32)


def _contiguous(view: Array) -> Array:
    if isinstance(view, GpuArray):
        return view
    if framework_of(view) == "torch":  # rows may be apart, as those of a part of the inputs
        return view if view.ndim == 2 and view.stride(1) == 1 else view.contiguous()
    return view if view.flags.c_contiguous else view.copy()


def host(values: Any, name: str = "the array") -> NDArray[Any]:
    """The values as a NumPy array: themselves, or a copy from a GPU, for which this waits."""
    if isinstance(values, np.ndarray):
        return values
    if isinstance(values, GpuArray):
        return values.numpy()
    if device_of(values) == "cpu":
        return as_numpy(values, name)
    return as_numpy(values.detach().cpu(), name) if framework_of(values) == "torch" else values.get()  # that of CuPy


def space(device: str) -> Host | GpuSpace:
    """The space of ``"cpu"``, ``"cuda"`` or ``"cuda:<index>"``.

    Raises:
        BackendError: when the device cannot be used, saying what to install.
    """
    if device == "cpu":
        return HOST
    library, index = cuda.library_for(device)
    return _gpu_space(str(library), index, cuda.state().gpus[index].capability)


@functools.cache
def _gpu_space(library: str, index: int, capability: tuple[int, int]) -> GpuSpace:
    return GpuSpace(library, index, _CUDA if capability > (0, 0) else _EXTENSION)


def device_of(array: Array) -> str:
    """The device of an array of any framework, as `space` takes it."""
    if array is None or framework_of(array) in ("numpy", "jax") or str(getattr(array, "device", "")) == "cpu":
        return "cpu"
    kind, index = _dlpack_device(array)
    return f"cuda:{index}" if kind in (_CUDA, _EXTENSION) else "cpu"


def _dlpack_device(array: Array) -> tuple[int, int]:
    """Type and index of the device; memory that moves between host and GPU counts as that of its GPU."""
    kind, index = array.__dlpack_device__()
    return (_CUDA if kind == _MANAGED else int(kind)), int(index)


def space_of(array: Array) -> Host | GpuSpace:
    """The space that an array lies in."""
    return space(device_of(array))
