"""A simple model whose programming error and drift do not depend on the conductance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..arrays import polynomial
from ..converters import BaseConductanceConverter
from .base import coefficients_of, pair_converter, require_finite, require_non_negative
from .power_law import PowerLawNoiseModel

Array = Any


class StateIndependentNoiseModel(PowerLawNoiseModel):
    """Constant programming error and drift statistics; read noise in proportion to the conductance.

    The standard deviation of a read is read_noise_scale (g / g_max) S(t) microsiemens: an absolute number, so the
    default is 4.2 microsiemens at g_max (17 % of 25) at the first read.

    Args:
        g_converter: conductance converter (default: single pair).
        g_max: largest conductance in microsiemens (default 25); leave out when a converter is given.
        prog_coeff: programming error in microsiemens, a polynomial of g / g_max (default 0.2, constant).
        prog_noise_scale, drift_scale, read_noise_scale: factors on the three effects; 0 switches one off.
        drift_nu_mean, drift_nu_std: mean and standard deviation of the drift exponent, before folding.
        t_0: device age at the first read in seconds.
        t_read: width of a read pulse in seconds.

    Raises:
        ConfigError: a parameter has an impossible value.
    """

    prog_coeff: tuple[float, ...]
    drift_nu_mean: float
    drift_nu_std: float

    def __init__(
        self,
        g_converter: BaseConductanceConverter | None = None,
        g_max: float | None = None,
        prog_coeff: Sequence[float] | None = None,
        prog_noise_scale: float = 1.0,
        drift_nu_mean: float = 0.1,
        drift_nu_std: float = 0.05,
        drift_scale: float = 1.0,
        t_0: float = 20.0,
        read_noise_scale: float = 1.0,
        t_read: float = 250e-9,
    ) -> None:
        self.g_converter = pair_converter(g_converter, g_max, 25.0)
        self.prog_coeff = coefficients_of((0.2, 0.0, 0.0) if prog_coeff is None else prog_coeff, "prog_coeff")
        self.prog_noise_scale = prog_noise_scale
        self.drift_nu_mean = drift_nu_mean
        self.drift_nu_std = drift_nu_std
        self.drift_scale = drift_scale
        self.t_0 = t_0
        self.read_noise_scale = read_noise_scale
        self.t_read = t_read
        self.check()

    def programming_std(self, g_target: Array) -> Array:
        """Polynomial of the relative target conductance, in microsiemens at any g_max."""
        return polynomial(self.prog_coeff, g_target / self.g_max) * self.prog_noise_scale

    def drift_mean_std(self, g_target: Array) -> tuple[Array, Array]:
        """The two constants, as arrays."""
        zero = g_target * 0.0
        return zero + self.drift_nu_mean, zero + self.drift_nu_std

    def relative_read_noise(self, g_prog: Array) -> Array:
        """1 microsiemens over g_max."""
        return g_prog * 0.0 + 1.0 / self.g_max

    def check(self) -> None:
        """Raises ConfigError when a parameter has an impossible value."""
        super().check()
        require_finite(self, "drift_nu_mean")
        require_non_negative(self, "drift_nu_std")
