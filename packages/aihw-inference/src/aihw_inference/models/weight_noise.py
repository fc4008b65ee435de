"""Programming error of phase-change memory as used to evaluate analog foundation models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from array_api_compat import array_namespace

from ..arrays import polynomial
from ..converters import BaseConductanceConverter
from ..errors import ConfigError
from .base import BaseNoiseModel, coefficients_of, pair_converter, rectify, require_non_negative, require_positive

Array = Any


class PCMWeightNoiseModel(BaseNoiseModel):
    """A programming error that is one cubic below a conductance and another above; no drift, no read noise.

    Small weights are set to zero without error. Source: Buchel et al. 2025, doi:10.48550/arXiv.2505.09663, whose
    weights are scaled to 180 steps and get one error each; here the device of a pair that carries the weight gets it,
    clipped at zero, so that an error does not change the sign.

    Args:
        low: coefficients (powers 0, 1, ...) of the standard deviation up to `joint`.
        high: those above it.
        joint: conductance where the laws meet.
        zero_below: smaller targets are not programmed.
        g_converter: conductance converter (default: single pair).
        g_max: largest conductance (default 180); leave out when a converter is given.
        prog_noise_scale: factor on the error.
        coeff_g_max_reference: g_max at which all other parameters hold (default 180).

    Raises:
        ConfigError: a parameter has an impossible value.
    """

    low: tuple[float, ...]
    high: tuple[float, ...]
    joint: float
    zero_below: float
    prog_noise_scale: float
    coeff_g_max_reference: float

    def __init__(
        self,
        low: Sequence[float] = (2.579741, 0.2241969, -3.715812e-3, 2.939751e-5),
        high: Sequence[float] = (2.110296, 0.2453487, -3.054993e-3, 1.232976e-5),
        joint: float = 52.5,
        zero_below: float = 0.6,
        g_converter: BaseConductanceConverter | None = None,
        g_max: float | None = None,
        prog_noise_scale: float = 1.0,
        coeff_g_max_reference: float = 180.0,
    ) -> None:
        self.g_converter = pair_converter(g_converter, g_max, 180.0)
        self.low, self.high = coefficients_of(low, "low"), coefficients_of(high, "high")
        self.joint = joint
        self.zero_below = zero_below
        self.prog_noise_scale = prog_noise_scale
        self.coeff_g_max_reference = coeff_g_max_reference
        self.check()

    def programming_std(self, g_target: Array) -> Array:
        """The cubic of the target, scaled to this g_max; 0 for small targets."""
        xp, scale = array_namespace(g_target), self.g_max / self.coeff_g_max_reference
        g = g_target / scale
        std = xp.where(g <= self.joint, polynomial(self.low, g), polynomial(self.high, g))
        return xp.where(g < self.zero_below, g * 0.0, std) * (scale * self.prog_noise_scale)

    def program_conductance(self, g_target: Array, xi: Array) -> Array:
        """Programmed conductances: a Gaussian error, clipped at zero; small targets become 0."""
        xp, smallest = array_namespace(g_target), self.zero_below * self.g_max / self.coeff_g_max_reference
        programmed = rectify(g_target + self.programming_std(g_target) * xi)
        return xp.where(g_target < smallest, programmed * 0.0, programmed)

    def drift_coefficients(self, g_target: Array, xi: Array) -> Array:
        """Zeros: there is no drift."""
        return g_target * 0.0 + xi * 0.0

    def conductance_at(self, g_prog: Array, coefficients: Array, t: float, xi: Array) -> Array:
        """The programmed conductances at any time."""
        return g_prog + xi * 0.0

    def read_parts(self, g_prog: Array, coefficients: Array, t: float) -> tuple[Array, Array]:
        """The programmed conductances, and zeros."""
        return g_prog, g_prog * 0.0

    def check(self) -> None:
        """Raises ConfigError when a parameter has an impossible value."""
        super().check()
        require_positive(self, "joint", "coeff_g_max_reference")
        require_non_negative(self, "zero_below")
        if self.g_converter.g_min > 0.0:
            raise ConfigError("PCMWeightNoiseModel sets small weights to 0 and needs a converter with g_min=0.")
