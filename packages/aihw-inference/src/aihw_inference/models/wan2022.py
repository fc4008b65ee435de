"""ReRAM of the NeuRRAM chip: spread around the target at three ages."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ..arrays import EPS, polynomial
from ..converters import BaseConductanceConverter
from ..errors import ConfigError, TimeError
from .base import BaseNoiseModel, pair_converter, rectify, require_positive, table_by_number

Array = Any


class ReRamWan2022NoiseModel(BaseNoiseModel):
    """Residual conductance spread 1 s, 1 day and 2 days after programming; no drift law, no short-term read noise.

    Each read draws a fresh spread around the target. The authors advise to add a read noise of about 0.01 of the
    largest weight to every matrix-vector product. Source: Wan et al. 2022, doi:10.1038/s41586-022-04992-8, read off
    published figures.

    Args:
        coeff_dic: age in seconds -> spread in microsiemens, a polynomial of g / g_max (default: 1, 86400 and 172800 s).
        g_converter: conductance converter (default: single pair).
        g_max: largest conductance in microsiemens (default 25); leave out when a converter is given.
        noise_scale: factor on all spreads.
        coeff_g_max_reference: g_max, in microsiemens, at which the coefficients hold (default: 40 for the default
            coefficients, g_max for given ones).
        interpolate_ages: accept times between the ages; the spread is then linear in ln t.
        correlated_ages: keep one deviation per device, the programming error, which grows with the spread.

    Raises:
        ConfigError: a parameter has an impossible value.
    """

    coeff_dic: dict[float, tuple[float, ...]]
    noise_scale: float
    coeff_g_max_reference: float
    interpolate_ages: bool
    correlated_ages: bool

    def __init__(
        self,
        coeff_dic: Mapping[float, Sequence[float]] | None = None,
        g_converter: BaseConductanceConverter | None = None,
        g_max: float | None = None,
        noise_scale: float = 1.0,
        coeff_g_max_reference: float | None = None,
        *,
        interpolate_ages: bool = False,
        correlated_ages: bool = False,
    ) -> None:
        self.g_converter = pair_converter(g_converter, g_max, 25.0)
        reference = self.g_max
        if coeff_dic is None:
            coeff_dic, reference = _SPREADS, 40.0
        self.coeff_dic = dict(sorted(table_by_number(coeff_dic, "coeff_dic").items()))
        self.noise_scale = noise_scale
        self.coeff_g_max_reference = reference if coeff_g_max_reference is None else coeff_g_max_reference
        self.interpolate_ages = interpolate_ages
        self.correlated_ages = correlated_ages
        self.check()

    def spread(self, g_target: Array, t: float) -> Array:
        """Standard deviation around the target at a checked age `t`, noise_scale included."""
        r = g_target / self.g_max
        ages = list(self.coeff_dic)
        upper = next(i for i, age in enumerate(ages) if t <= age)
        result = polynomial(self.coeff_dic[ages[upper]], r)
        if t != ages[upper]:
            fraction = math.log(t / ages[upper - 1]) / math.log(ages[upper] / ages[upper - 1])
            result = result * fraction + polynomial(self.coeff_dic[ages[upper - 1]], r) * (1.0 - fraction)
        return result * (self.noise_scale * self.g_max / self.coeff_g_max_reference)

    def programming_std(self, g_target: Array) -> Array:
        """The spread at the smallest age."""
        return self.spread(g_target, next(iter(self.coeff_dic)))

    def drift_coefficients(self, g_target: Array, xi: Array) -> Array:
        """The targets themselves: later spreads are around them."""
        return g_target + xi * 0.0

    def conductance_at(self, g_prog: Array, coefficients: Array, t: float, xi: Array) -> Array:
        """Target plus the spread at age `t`, clipped at zero."""
        if self.correlated_ages:
            xi = (g_prog - coefficients) / (self.programming_std(coefficients) + EPS)
        return rectify(coefficients + self.spread(coefficients, t) * xi)

    def check_time(self, t: float) -> float:
        """`t`, or the smallest age for 0; raises TimeError when the table does not cover it."""
        t, ages = super().check_time(t), list(self.coeff_dic)
        if t == 0.0 or t in ages:
            return t or ages[0]
        if self.interpolate_ages and ages[0] <= t <= ages[-1]:
            return t
        advice = f"use a time from {ages[0]} to {ages[-1]} s" if self.interpolate_ages else "set interpolate_ages=True"
        raise TimeError(f"ReRamWan2022NoiseModel knows the ages {ages} s, not {t} s; {advice}.")

    def check(self) -> None:
        """Raises ConfigError when a parameter has an impossible value."""
        super().check()
        require_positive(self, "coeff_g_max_reference")
        if not self.coeff_dic or not all(0.0 < age < math.inf for age in self.coeff_dic):
            raise ConfigError("coeff_dic needs at least one age, and all ages must be positive.")


_SPREADS = {
    1.0: (0.348, 16.030, -43.853, 45.393, -16.815),
    86400.0: (0.701, 22.086, -50.773, 47.095, -16.458),
    172800.0: (0.782, 20.274, -43.507, 37.062, -11.934),
}
