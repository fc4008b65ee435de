"""The errors of the package: those of `rpu_sim.errors`, and two of this package.

All of them are an `RpuError`, so `except RpuError` catches whatever the simulation objects to. What noise models,
converters and inference times object to is an `aihw_inference.errors.InferenceError`.
"""

from __future__ import annotations

from rpu_sim.errors import (
    BackendError,
    ConfigError,
    DeviceError,
    DtypeError,
    NonFiniteError,
    RpuError,
    ShapeError,
    StateError,
)

__all__ = [
    "BackendError",
    "ConfigError",
    "DeviceError",
    "DtypeError",
    "FusionExportError",
    "NonFiniteError",
    "OptimizerError",
    "RpuError",
    "ShapeError",
    "StateError",
]


class OptimizerError(RpuError, RuntimeError):
    """An optimizer was used on parameters that it cannot train."""


class FusionExportError(RpuError, ValueError):
    """A table of conductances does not fit a model, or a model cannot be exported to one."""
