"""What this installation computes with, and a doctor that says so."""

from __future__ import annotations

import ctypes
import platform

from . import _core, cuda
from ._version import __version__
from .errors import BackendError, ConfigError
from .state import integer


def isa() -> str:
    """Instruction-set level in use: scalar, v2, v3, v4, v4x (x86-64) or aarch64."""
    return _core.isa()


def isa_levels() -> list[str]:
    """Levels that run on this machine, slowest first; all give the same bits."""
    return _core.isa_levels()


def is_compiled() -> bool:
    """Whether tiles can be moved to NVIDIA GPUs, as scripts ask before they call ``.cuda()``; `doctor` says why not."""
    return not cuda.state().problem


def set_isa(name: str) -> None:
    """Use another level, for example to reproduce a timing; the environment variable RPU_ISA does the same.

    Raises:
        BackendError: if the level does not run on this machine.
    """
    if not isinstance(name, str):
        raise BackendError(f"a level is named by a text, such as 'scalar', not {name!r}")
    _core.set_isa(name)


def get_num_threads() -> int:
    """Threads the kernels use; results never depend on it."""
    return _core.num_threads()


def set_num_threads(n: int) -> None:
    """Use ``n`` threads, at most 256; the environment variable RPU_NUM_THREADS sets the initial number.

    Raises:
        ConfigError: unless ``n`` is an integer of at least 1.
    """
    number = integer(n, "the number of threads")
    if number < 1:
        raise ConfigError(f"the number of threads must be at least 1, not {number}")
    _core.set_num_threads(min(number, 1 << 16))


def use_openmp(library: ctypes.CDLL | None) -> bool:
    """Run the kernels on the threads of an OpenMP library, or with None again on threads of their own.

    For a process in which something else uses that library all the time, as torch does: threads of OpenMP spin for
    milliseconds after their work, and a second pool would have to compete with them. Results never depend on it.

    Args:
        library: One that is loaded; ``ctypes.CDLL(None)`` is all of the process.

    Returns:
        Whether the kernels use it: it must have ``GOMP_parallel`` and ``omp_get_thread_num``.
    """
    addresses = [0, 0]
    if library is not None:
        functions = [getattr(library, name, None) for name in ("GOMP_parallel", "omp_get_thread_num")]
        addresses = [
            ctypes.cast(function, ctypes.c_void_p).value or 0 for function in functions if function is not None
        ]
    if len(addresses) < 2:
        return False
    _core.use_openmp(*addresses)
    return library is not None


def offload(device: str) -> None:
    """Send the calls of all tiles to a GPU, or with ``"cpu"`` back to the CPU; the bits are the same.

    Arrays stay where they are: each call copies what it needs to the GPU and its results back, which is slower than the
    CPU for all but large updates. It serves to compare both.

    Args:
        device: ``"cpu"``, ``"cuda"`` or ``"cuda:<index>"``.

    Raises:
        BackendError: when the device cannot be used, saying what to install.
    """
    cuda.offload(device)


def doctor() -> str:
    """A report of versions and back ends, for bug reports."""
    lines = [
        f"rpu_sim     {__version__}",
        f"python      {platform.python_version()} on {platform.system()} {platform.machine()}",
        f"cpu levels  {', '.join(isa_levels())} (in use: {isa()})",
        f"threads     {get_num_threads()}",
        *cuda.report(),
    ]
    return "\n".join(lines)
