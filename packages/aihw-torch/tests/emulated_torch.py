"""A device of torch on the memory of the emulated GPUs of rpu-sim, so that a machine without a GPU tests `.to(device)`.

Its tensors lie on pages that only the kernels of the plugin may touch. Operations of torch itself
copy them to the CPU, compute there, and copy the results back; whatever reads them on the host ends in a segmentation
fault.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils import backend_registration

from rpu_sim import _core, cuda, gpu

PLUGIN = Path(_core.__file__).with_name("_emulated_cuda.so")
NAME = "emulated"
_CPU = torch._C.DispatchKeySet(torch._C.DispatchKey.CPU)
_libraries: list[torch.library.Library] = []


class _Module(backend_registration._DummyBackendModule):  # type: ignore[name-defined, misc]
    """What torch asks a device about."""

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16, torch.float16]

    def get_rng_state(self, device: Any = None) -> Tensor:
        return torch.empty(0, dtype=torch.uint8)  # it has no random numbers of its own

    def set_rng_state(self, state: Tensor, device: Any = None) -> None:
        pass


def kernels() -> cuda.CudaState:
    """The emulated plugin."""
    return cuda.examine(PLUGIN)


def make_device() -> torch.device:
    """Register the device, once per process; `kernels` is what rpu_sim has to find then."""
    if not _libraries:
        backend_registration._setup_privateuseone_for_python_backend(NAME, _Module())
        in_dlpack = Tensor.__dlpack_device__
        Tensor.__dlpack_device__ = lambda self: (12, 0) if self.device.type == NAME else in_dlpack(self)  # type: ignore
        aten = torch.library.Library("aten", "IMPL", "PrivateUse1")
        aten.impl("empty.memory_format", _empty)
        aten.impl("empty_strided", _empty_strided)
        aten.impl("_copy_from", _copy_from)
        names = ("as_strided.default", "view.default", "_reshape_alias.default", "unfold.default")
        for name in (*names, "set_.source_Storage_storage_offset"):
            operation, overload = name.split(".")
            kernel = _on_same_memory(getattr(getattr(torch.ops.aten, operation), overload))
            aten.impl(name.removesuffix(".default"), kernel)
        everything = torch.library.Library("_", "IMPL")
        everything.fallback(_on_cpu, "PrivateUse1")
        everything.fallback(torch.library.fallthrough_kernel, "AutocastPrivateUse1")
        _libraries.extend([aten, everything])
    return torch.device(NAME, 0)


def _empty_strided(size: Any, stride: Any, *, dtype: Any = None, **_: Any) -> Tensor:
    dtype = torch.get_default_dtype() if dtype is None else dtype
    elements = 1 + sum((n - 1) * s for n, s in zip(size, stride, strict=True)) if math.prod(size) else 0
    words = -(-elements * dtype.itemsize // 4)
    flat = torch.from_dlpack(gpu.space("cuda:0").empty((words,)))
    typed = torch.ops.aten.view.dtype(flat, dtype)
    return torch.ops.aten.as_strided.default(typed, size, stride, 0)


def _empty(size: Any, *, dtype: Any = None, memory_format: Any = None, **_: Any) -> Tensor:
    like = torch.empty(size, device="meta", memory_format=memory_format or torch.contiguous_format)
    return _empty_strided(size, like.stride(), dtype=dtype)


def _on_same_memory(op: Any) -> Any:
    return lambda *args, **kwargs: op.redispatch(_CPU, *args, **kwargs)


def _extent(tensor: Tensor) -> int:
    if tensor.numel() == 0:
        return 0
    return 1 + sum((n - 1) * s for n, s in zip(tensor.shape, tensor.stride(), strict=True))


def _flat(tensor: Tensor) -> Tensor:
    """All memory between the first and the last element."""
    shape = (_extent(tensor),), (1,), tensor.storage_offset()
    on_cpu = tensor.device.type == "cpu"
    detached = tensor.detach()
    return detached.as_strided(*shape) if on_cpu else torch.ops.aten.as_strided.default(detached, *shape)


def _to_cpu(tensor: Tensor) -> Tensor:
    source = _flat(tensor)
    flat = torch.empty(source.shape, dtype=source.dtype)
    if flat.numel():
        _core.copy(_bits(flat), _bits(source))
    return flat.as_strided(tensor.shape, tensor.stride())


def _to_device(values: Tensor, target: Tensor) -> None:
    """Write values of the CPU into a tensor of the device."""
    whole = _to_cpu(target)
    whole.copy_(values)
    destination = _flat(target)
    if destination.numel():
        _core.copy(_bits(destination), _bits(_flat(whole)))


def _bits(flat: Tensor) -> Tensor:
    """The same memory as integers, which every array library knows."""
    integers = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
    return torch.ops.aten.view.dtype(flat, integers[flat.dtype.itemsize])


def _copy_from(source: Tensor, target: Tensor, non_blocking: bool = False) -> Tensor:
    values = source if source.device.type == "cpu" else _to_cpu(source)
    if target.device.type == "cpu":
        target.copy_(values)
    else:
        _to_device(values, target)
    return target


def _copied(values: Tensor) -> Tensor:
    moved = _empty_strided(values.shape, values.stride(), dtype=values.dtype)
    _to_device(values, moved)
    return moved


def _write_back(values: Tensor, original: Tensor) -> None:
    if values.shape == original.shape:
        _to_device(values, original)
    else:  # a result that the operation has resized
        torch.ops.aten.set_.source_Tensor.redispatch(_CPU, original, _copied(values))


def _on_cpu(op: Any, *args: Any, **kwargs: Any) -> Any:
    """Any operation of torch, computed on the CPU."""
    originals: dict[int, Tensor] = {}

    def down(value: Any) -> Any:
        if isinstance(value, Tensor) and value.device.type == NAME:
            copy = _to_cpu(value)
            originals[id(copy)] = value
            return copy
        if isinstance(value, torch.device):
            return torch.device("cpu")
        return value

    given = torch.utils._pytree.tree_map(down, args)
    for i, (argument, value) in enumerate(zip(op._schema.arguments, given, strict=False)):
        if isinstance(argument.type, torch._C.TensorType) and isinstance(value, (int, float)):
            given = (*given[:i], torch.tensor(value), *given[i + 1 :])
    named = torch.utils._pytree.tree_map(down, kwargs)
    result = op(*given, **named)
    names = [argument.name for argument in op._schema.arguments]
    values = dict(zip(names, given, strict=False)) | named
    for argument in op._schema.arguments:
        if argument.name in values and argument.alias_info is not None and argument.alias_info.is_write:
            _write_back(values[argument.name], originals[id(values[argument.name])])

    def up(value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        return originals[id(value)] if id(value) in originals else _copied(value)

    return torch.utils._pytree.tree_map(up, result)
