"""Errors of aihw-inference: one sentence each, saying what is wrong and what to do."""

from __future__ import annotations


class InferenceError(Exception):
    """Base class of every error raised on purpose by aihw-inference."""


class ConfigError(InferenceError, AttributeError):
    """A parameter of a noise model, converter, compensation or generator is unknown or has an impossible value."""


class ShapeError(InferenceError, ValueError):
    """An array has a shape that does not fit the others."""


class DtypeError(InferenceError, TypeError):
    """An array is not of a real dtype that can be programmed (float32, float64 or an integer)."""


class ConductanceError(InferenceError, ValueError):
    """A conductance lies outside the range of the converter."""


class TimeError(InferenceError, ValueError):
    """An inference time is negative, not finite, or not covered by the noise model."""


class NonFiniteError(InferenceError, ValueError):
    """An array holds NaN or infinity."""


class BackendError(InferenceError, RuntimeError):
    """The array library lacks something that was asked for."""


class StateError(InferenceError, ValueError):
    """Something was asked for that needs an earlier step, such as a range before any data."""
