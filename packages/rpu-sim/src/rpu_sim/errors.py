"""Errors of the simulator: each message is one sentence that says what is wrong and what to do."""

from __future__ import annotations


class RpuError(Exception):
    """Base of all errors raised by rpu-sim."""


class ConfigError(RpuError, AttributeError):
    """A configuration holds an unknown field, a wrong type or an impossible value."""


class ShapeError(RpuError, ValueError):
    """An array has the wrong shape."""


class DtypeError(RpuError, TypeError):
    """An array has the wrong data type."""


class DeviceError(RpuError, RuntimeError):
    """An array lives on a device that has no kernel for the requested operation."""


class NonFiniteError(RpuError, ValueError):
    """An input contains NaN or infinity; the state was left unchanged."""


class StateError(RpuError, ValueError):
    """A saved state is incomplete, damaged or does not fit the tile."""


class BackendError(RpuError, RuntimeError):
    """A back end or instruction-set level is not available on this machine."""
