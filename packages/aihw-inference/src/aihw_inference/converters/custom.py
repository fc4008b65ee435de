"""Pairs of devices programmed along arbitrary curves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from array_api_compat import device

from ..arrays import checked_reals
from ..errors import ConfigError
from .base import ConversionParameters
from .pairs import WeightedPairs

Array = Any


@dataclass(frozen=True, init=False)
class CustomPairConductanceConverter(WeightedPairs):
    """P pairs of devices whose conductances follow given curves of the weight.

    Entry m of a curve is the conductance at the m-th of M equally spaced weights from -max|W| to max|W|; between them
    it is interpolated linearly. W = sum_p f_p (g_p+ - g_p-) / s, so that sum must be linear in m.

    Args:
        f_lst: P significance factors, not zero.
        g_lst: 2 P curves [g1+, g1-, g2+, g2-, ...] of M >= 2 conductances each, within [g_min, g_max].
        g_max: largest conductance in microsiemens (default 25).
        g_min: smallest conductance in microsiemens (default 0).
        invertibility_test: check that encoding and decoding returns the weight, to 1e-4 of its range.

    Raises:
        ConfigError: numbers of curves, lengths or values do not fit, or the curves are not invertible.
    """

    f_lst: tuple[float, ...]
    g_lst: tuple[tuple[float, ...], ...]

    def __init__(
        self,
        f_lst: Sequence[float],
        g_lst: Sequence[Sequence[float]],
        g_max: float | None = None,
        g_min: float | None = None,
        invertibility_test: bool = True,
    ) -> None:
        self._set(
            g_max=25.0 if g_max is None else g_max,
            g_min=0.0 if g_min is None else g_min,
            f_lst=checked_reals(f_lst, "f_lst"),
            g_lst=tuple(checked_reals(curve, "g_lst") for curve in g_lst),
        )
        if invertibility_test:
            self._require_invertible()

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.f_lst or not all(0.0 < abs(f) < float("inf") for f in self.f_lst):
            raise ConfigError(f"f_lst must hold at least one finite factor that is not zero, got {list(self.f_lst)}.")
        if len(self.g_lst) != 2 * len(self.f_lst):
            raise ConfigError(
                f"g_lst needs {2 * len(self.f_lst)} curves for {len(self.f_lst)} pairs, got {len(self.g_lst)}."
            )
        lengths = {len(curve) for curve in self.g_lst}
        if len(lengths) != 1 or min(lengths) < 2:
            raise ConfigError(f"The curves of g_lst need one common length of at least 2, got {sorted(lengths)}.")
        if not all(self.g_min <= g <= self.g_max for curve in self.g_lst for g in curve):
            raise ConfigError(f"g_lst must lie within [g_min, g_max] = [{self.g_min}, {self.g_max}] microsiemens.")
        if self.code_range() == 0.0:
            raise ConfigError("The curves of g_lst cancel: every weight would be zero.")

    def _require_invertible(self) -> None:
        # the code is linear between nodes, so it is the weight everywhere if it is at the nodes
        code, last = self._code(), len(self.g_lst[0]) - 1
        error = max(abs(u / self.code_range() - (2.0 * m / last - 1.0)) for m, u in enumerate(code))
        if error > 1e-4:
            raise ConfigError(
                f"The curves of g_lst do not return the weight (error {error:.2g} of its range); "
                "make sum_p f_p (g_p+ - g_p-) linear or pass invertibility_test=False."
            )

    def _code(self) -> list[float]:
        pairs = zip(self.f_lst, self.g_lst[::2], self.g_lst[1::2], strict=True)
        terms = [[f * (p - n) for p, n in zip(plus, minus, strict=True)] for f, plus, minus in pairs]
        return [sum(column) for column in zip(*terms, strict=True)]

    def code_range(self) -> float:
        """Largest magnitude of sum_p f_p (g_p+ - g_p-) over the curve."""
        return max(abs(u) for u in self._code())

    def encode(self, xp: Any, weights: Array, parameters: ConversionParameters) -> Array:
        """Target conductances [2 P, ...], interpolated on the equally spaced curve."""
        last = len(self.g_lst[0]) - 1
        position = xp.clip(
            (weights * parameters.scale_ratio / self.code_range() + 1.0) * (last / 2.0), 0.0, float(last)
        )
        lower = xp.clip(xp.floor(position), 0.0, last - 1.0)
        index = xp.reshape(xp.astype(lower, xp.int32), (-1,))
        fraction = xp.reshape(position - lower, (-1,))
        conductances = []
        for curve in self.g_lst:
            table = xp.asarray(curve, dtype=weights.dtype, device=device(weights))
            left, right = xp.take(table, index), xp.take(table, index + 1)
            conductances.append(xp.reshape(left + (right - left) * fraction, weights.shape))
        return xp.stack(conductances)
