"""Differential pairs: one, two or N pairs of devices per weight."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..arrays import checked_reals
from ..errors import ConfigError
from .base import BaseConductanceConverter, ConversionParameters

Array = Any


class WeightedPairs(BaseConductanceConverter):
    """Pairs of devices whose differences, each times a significance factor, add up to the weight.

    Attributes:
        f_lst: significance factors, one for each pair.
    """

    f_lst: tuple[float, ...]

    @property
    def n_devices(self) -> int:
        """Two devices for each factor."""
        return 2 * len(self.f_lst)

    @property
    def significances(self) -> tuple[float, ...]:
        """The factor of each pair, twice."""
        return tuple(f for f in self.f_lst for _ in range(2))

    def decode(self, xp: Any, conductances: Array, parameters: ConversionParameters) -> Array:
        """Weighted sum of the differences of the pairs."""
        code = sum(f * (conductances[2 * p, ...] - conductances[2 * p + 1, ...]) for p, f in enumerate(self.f_lst))
        return code / parameters.scale_ratio


@dataclass(frozen=True, init=False)
class NPairConductanceConverter(WeightedPairs):
    """N pairs of devices with significance factors; a pair is used when all less significant ones are full.

    With d = g_max - g_min and s = d sum(f) / max|W|, pair p carries the part of s |W| above d sum(f_q, q < p), divided
    by f_p; W = sum_p f_p (g_p+ - g_p-) / s.

    Args:
        f_lst: significance factors, positive, from the least to the most significant pair.
        g_max: largest conductance in microsiemens (default 25).
        g_min: smallest conductance in microsiemens (default 0).

    Raises:
        ConfigError: a factor is not positive, there is none, or the conductance range is impossible.
    """

    f_lst: tuple[float, ...]

    def __init__(self, f_lst: Sequence[float], g_max: float | None = None, g_min: float | None = None) -> None:
        self._set(
            g_max=25.0 if g_max is None else g_max,
            g_min=0.0 if g_min is None else g_min,
            f_lst=checked_reals(f_lst, "f_lst"),
        )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.f_lst or not all(0.0 < f < float("inf") for f in self.f_lst):
            raise ConfigError(f"f_lst must hold at least one positive finite factor, got {list(self.f_lst)}.")

    def code_range(self) -> float:
        """All pairs full: (g_max - g_min) times the sum of the factors."""
        return (self.g_max - self.g_min) * sum(self.f_lst)

    def encode(self, xp: Any, weights: Array, parameters: ConversionParameters) -> Array:
        """Target conductances [2 N, ...], pair by pair."""
        span = self.g_max - self.g_min
        code = weights * parameters.scale_ratio
        conductances, filled = [], 0.0
        for factor in self.f_lst:
            for signed in (code, -code):
                conductances.append(xp.clip((signed - filled) / factor, 0.0, span) + self.g_min)
            filled += factor * span
        return xp.stack(conductances)


@dataclass(frozen=True, init=False)
class DualPairConductanceConverter(NPairConductanceConverter):
    """Two pairs of devices per weight; as NPairConductanceConverter with exactly two factors."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.f_lst) != 2:
            raise ConfigError(f"A dual pair needs two factors in f_lst, got {len(self.f_lst)}.")


@dataclass(frozen=True, init=False)
class SinglePairConductanceConverter(NPairConductanceConverter):
    """One pair of devices per weight: g+ carries positive weights, g- negative ones, s = (g_max - g_min) / max|W|.

    Args:
        g_max: largest conductance in microsiemens (default 25).
        g_min: smallest conductance in microsiemens (default 0).

    Raises:
        ConfigError: the conductance range is impossible.
    """

    def __init__(self, g_max: float | None = None, g_min: float | None = None) -> None:
        super().__init__((1.0,), g_max, g_min)
