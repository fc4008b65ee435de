"""What every conductance converter offers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

from ..arrays import EPS, at_least, checked_real, finite_array, require_same_shape, sealed
from ..errors import ConfigError, ShapeError

Array = Any


@dataclass(frozen=True)
class ConversionParameters:
    """How weights and conductances of one array correspond.

    Attributes:
        scale_ratio: microsiemens per unit of weight.
        w_low: smallest weight that can be represented; only the single device needs it.

    Both are 0-d arrays, or arrays that broadcast to the weights (one scale per output row).
    """

    scale_ratio: Array
    w_low: Array

    def __post_init__(self) -> None:
        object.__setattr__(self, "scale_ratio", sealed(self.scale_ratio))
        object.__setattr__(self, "w_low", sealed(self.w_low))


@dataclass(frozen=True)
class BaseConductanceConverter(ABC):
    """Maps weights to K conductances per weight and back. Immutable and deterministic.

    Attributes:
        g_max: largest conductance, in microsiemens.
        g_min: smallest conductance, in microsiemens; 0 <= g_min < g_max.

    Raises:
        ConfigError: the range is impossible.
    """

    g_max: float
    g_min: float

    def _set(self, **fields: Any) -> None:
        """Fills a new converter, then checks it."""
        for name, value in fields.items():
            object.__setattr__(self, name, value)
        self.__post_init__()

    def __post_init__(self) -> None:
        for name in ("g_max", "g_min"):
            object.__setattr__(self, name, checked_real(getattr(self, name), name))
        if not 0.0 <= self.g_min < self.g_max < float("inf"):
            raise ConfigError(f"Conductances need 0 <= g_min < g_max, got g_min={self.g_min} and g_max={self.g_max}.")

    @property
    @abstractmethod
    def n_devices(self) -> int:
        """K, the number of devices (conductances) per weight."""

    @abstractmethod
    def code_range(self) -> float:
        """Conductance difference, in microsiemens, of the largest weight and of zero (single device: the smallest)."""

    @abstractmethod
    def encode(self, xp: Any, weights: Array, parameters: ConversionParameters) -> Array:
        """Target conductances [K, ...] of the weights [...]; weights beyond the range saturate."""

    @abstractmethod
    def decode(self, xp: Any, conductances: Array, parameters: ConversionParameters) -> Array:
        """Weights [...] of the conductances [K, ...]; no clipping."""

    @property
    def significances(self) -> tuple[float, ...]:
        """What one microsiemens of each of the K devices counts, up to the sign and the common scale."""
        return (1.0,) * self.n_devices

    def decode_variance(self, xp: Any, variances: Array, parameters: ConversionParameters) -> Array:
        """Variances [...] of weights whose K conductances have independent noise of `variances` [K, ...]."""
        total = sum(f * f * variances[k, ...] for k, f in enumerate(self.significances))
        return total / (parameters.scale_ratio * parameters.scale_ratio)

    def weight_range(self, xp: Any, weights: Array) -> tuple[Array, Array]:
        """(lowest, highest) weight to represent: minus and plus the largest magnitude in `weights`."""
        if 0 in weights.shape:
            return xp.sum(weights), xp.sum(weights)
        largest = xp.maximum(xp.max(weights), -xp.min(weights))
        return -largest, largest

    def parameters(self, xp: Any, low: Array, high: Array) -> ConversionParameters:
        """The parameters for weights between `low` and `high` (0-d or broadcastable arrays)."""
        return ConversionParameters(self.code_range() / at_least(high, EPS), low)

    def convert_to_conductances(self, weights: Array) -> tuple[list[Array], ConversionParameters]:
        """Target conductances of `weights`, scaled to their own range.

        Returns:
            List of K arrays of the shape of `weights`, in microsiemens, pair by pair [g1+, g1-, g2+, g2-, ...] from
            the least significant pair on, and the parameters that `convert_back_to_weights` needs.
        """
        xp, weights = finite_array(weights, "weights")
        parameters = self.parameters(xp, *self.weight_range(xp, weights))
        conductances = self.encode(xp, weights, parameters)
        return [conductances[k, ...] for k in range(self.n_devices)], parameters

    def convert_back_to_weights(self, conductances: Any, params: ConversionParameters) -> Array:
        """Weights of K conductance arrays (a list, or one array [K, ...]); raises ShapeError for another number."""
        together = not isinstance(conductances, list | tuple)
        listed = [conductances[k, ...] for k in range(conductances.shape[0])] if together else list(conductances)
        if len(listed) != self.n_devices:
            raise ShapeError(
                f"{type(self).__name__} needs {self.n_devices} conductances per weight, got {len(listed)}."
            )
        for g in listed[1:]:
            require_same_shape(listed[0], g, "The conductances of one converter")
        xp, _ = finite_array(listed[0], "conductances")
        return self.decode(xp, xp.stack(listed), params)
