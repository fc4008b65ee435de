"""The CUDA plugin: whether there is one, whether it fits, and which GPUs it may use."""

from __future__ import annotations

import functools
import importlib.util
from pathlib import Path
from typing import NamedTuple

from . import _core
from ._version import __version__
from .errors import BackendError

PLUGIN = "rpu_sim_cuda"
INSTALL = 'pip install "rpu-sim[cu13]"'


class Gpu(NamedTuple):
    """A GPU as its driver describes it; ``memory`` in bytes."""

    name: str
    capability: tuple[int, int]
    memory: int


class CudaState(NamedTuple):
    """What `state` found.

    Attributes:
        library: The plugin; None if there is none that fits.
        built: With what it was built, such as ``"CUDA 13.0 for 8.0, 9.0"``.
        gpus: The GPUs, by index.
        problem: Why tiles cannot compute on a GPU, and what to do: one sentence, empty if they can.
    """

    library: Path | None
    built: str
    gpus: tuple[Gpu, ...]
    problem: str


@functools.cache
def state() -> CudaState:
    """Look for the plugin and for GPUs, once per process."""
    return examine(_find())


def _find() -> Path | None:
    """The library of the installed plugin, without importing more than its package."""
    if importlib.util.find_spec(PLUGIN) is None:
        return None
    library: Path = importlib.import_module(PLUGIN).LIBRARY
    return library


def examine(library: Path | None) -> CudaState:
    """The state with this library."""
    if library is None:
        return CudaState(None, "", (), f"the CUDA plugin is not installed: {INSTALL}")
    try:
        version, toolkit, architectures = _core.plugin(str(library))
    except BackendError as error:
        return CudaState(None, "", (), str(error))
    if version != __version__:
        fitting = f'pip install "rpu-sim[cu13]=={__version__}"'
        return CudaState(None, "", (), f"the CUDA plugin is of version {version}, rpu-sim of {__version__}: {fitting}")
    needed = [capability(number) for number in architectures.split()]
    built = f"{toolkit} for {', '.join(f'{major}.{minor}' for major, minor in needed)}" if needed else toolkit
    try:
        devices = _core.plugin_devices(str(library))
    except BackendError as error:
        return CudaState(library, built, (), str(error))
    gpus = tuple(Gpu(name, (major, minor), memory) for name, major, minor, memory in devices)
    if not gpus:
        hint = "see whether nvidia-smi lists one and what CUDA_VISIBLE_DEVICES says"
        return CudaState(library, built, (), f"there is no NVIDIA GPU that this process may use: {hint}")
    return CudaState(library, built, gpus, "")


def capability(architecture: str) -> tuple[int, int]:
    """Compute capability of an architecture as nvcc writes it: ``"90"`` is (9, 0)."""
    return int(architecture[:-1]), int(architecture[-1])


def report() -> list[str]:
    """Lines for `rpu_sim.doctor`."""
    found = state()
    lines = [f"cuda        {found.built or 'no plugin in use'}"]
    for i, (name, (major, minor), memory) in enumerate(found.gpus):
        lines.append(f"gpu {i}       {name}, compute capability {major}.{minor}, {memory / 2**30:.1f} GiB")
    return [*lines, f"            tiles cannot be on a GPU: {found.problem}"] if found.problem else lines


def library_for(device: str) -> tuple[Path, int]:
    """The library for ``"cuda"`` or ``"cuda:<index>"``, and the index.

    Raises:
        BackendError: saying in one sentence what is missing and what to do.
    """
    kind, _, number = device.partition(":") if isinstance(device, str) else ("", "", "")
    if kind != "cuda" or not (number or "0").isdecimal():
        raise BackendError(f"{device!r} is no device; name 'cpu', 'cuda' or 'cuda:<index>'")
    found, index = state(), int(number or "0")
    if found.problem or found.library is None:
        raise BackendError(found.problem)
    if index >= len(found.gpus):
        raise BackendError(f"there is no GPU number {index}: this process may use {len(found.gpus)}, counted from 0")
    return found.library, index


def offload(device: str) -> None:
    """Compute on a GPU with copies of the arrays of each call: see `rpu_sim.backends.offload`."""
    library, index = ("", 0) if device == "cpu" else library_for(device)
    _core.offload(str(library), index)
