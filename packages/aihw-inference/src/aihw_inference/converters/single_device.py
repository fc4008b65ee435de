"""One bidirectional device per weight."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..arrays import EPS, at_least
from .base import BaseConductanceConverter, ConversionParameters

Array = Any


@dataclass(frozen=True, init=False)
class SingleDeviceConductanceConverter(BaseConductanceConverter):
    """One device per weight: min W maps to g_min, max W to g_max. Weight 0 is mid-range only for a symmetric matrix.

    A constant matrix has no range: its devices sit at g_min and decode to that constant.

    Args:
        g_max: largest conductance in microsiemens (default 88.199997).
        g_min: smallest conductance in microsiemens (default 9).

    Raises:
        ConfigError: the conductance range is impossible.
    """

    def __init__(self, g_max: float | None = None, g_min: float | None = None) -> None:
        self._set(g_max=88.199997 if g_max is None else g_max, g_min=9.0 if g_min is None else g_min)

    @property
    def n_devices(self) -> int:
        """One."""
        return 1

    def code_range(self) -> float:
        """g_max - g_min."""
        return self.g_max - self.g_min

    def weight_range(self, xp: Any, weights: Array) -> tuple[Array, Array]:
        """(minimum, maximum) of the weights."""
        if 0 in weights.shape:
            return xp.sum(weights), xp.sum(weights)
        return xp.min(weights), xp.max(weights)

    def parameters(self, xp: Any, low: Array, high: Array) -> ConversionParameters:
        """The parameters for weights between `low` and `high`."""
        return ConversionParameters(self.code_range() / at_least(high - low, EPS), low)

    def encode(self, xp: Any, weights: Array, parameters: ConversionParameters) -> Array:
        """Target conductances [1, ...]."""
        code = (weights - parameters.w_low) * parameters.scale_ratio
        return xp.stack([xp.clip(code, 0.0, self.code_range()) + self.g_min])

    def decode(self, xp: Any, conductances: Array, parameters: ConversionParameters) -> Array:
        """w_low + (g - g_min) / scale."""
        return parameters.w_low + (conductances[0, ...] - self.g_min) / parameters.scale_ratio
