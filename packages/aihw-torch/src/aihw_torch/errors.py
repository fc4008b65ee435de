"""The errors of the package: those of `rpu_sim.errors`, and one of the optimizers.

All of them are an `RpuError`, so `except RpuError` catches whatever the simulation objects to.
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
    "NonFiniteError",
    "OptimizerError",
    "RpuError",
    "ShapeError",
    "StateError",
]


class OptimizerError(RpuError, RuntimeError):
    """An optimizer was used on parameters that it cannot train."""
