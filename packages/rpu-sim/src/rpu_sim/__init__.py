"""rpu-sim: a framework-agnostic simulator of analog crossbar arrays."""

from __future__ import annotations

from . import backends, config, errors, reference, table, together
from ._version import __version__
from .backends import doctor, get_num_threads, set_num_threads
from .programming import ProgrammingResult
from .seeds import derive_seed
from .tile import PulseCounts, Tile
from .weight_ops import WeightClip, WeightModifier, clip_weights, modify_weights, remap_weights

__all__ = [
    "ProgrammingResult",
    "PulseCounts",
    "Tile",
    "WeightClip",
    "WeightModifier",
    "__version__",
    "backends",
    "clip_weights",
    "config",
    "derive_seed",
    "doctor",
    "errors",
    "get_num_threads",
    "modify_weights",
    "reference",
    "remap_weights",
    "set_num_threads",
    "table",
    "together",
]
