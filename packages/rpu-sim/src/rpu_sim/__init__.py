"""rpu-sim: a framework-agnostic simulator of analog crossbar arrays."""

from __future__ import annotations

from . import backends, config, errors, reference
from ._version import __version__
from .backends import get_num_threads, set_num_threads
from .seeds import derive_seed
from .tile import PulseCounts, Tile

__all__ = [
    "PulseCounts",
    "Tile",
    "__version__",
    "backends",
    "config",
    "derive_seed",
    "errors",
    "get_num_threads",
    "reference",
    "set_num_threads",
]
