"""Devices that drift by a power law and have 1/f read noise: what the PCM models share."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from array_api_compat import array_namespace

from ..arrays import EPS, at_least
from ..drift import power_law
from ..read_noise import read_noise_factor
from .base import BaseNoiseModel, rectify, require_positive

Array = Any


class PowerLawNoiseModel(BaseNoiseModel):
    """Power-law drift with a folded-normal exponent nu = drift_scale |mean + std xi|, and Gaussian read noise.

    A model of your own defines `programming_std`, `drift_mean_std` and `relative_read_noise`.

    Attributes:
        t_0: device age at the first read, in seconds.
        t_read: width of a read pulse, in seconds.
        prog_noise_scale, read_noise_scale: factors on the two standard deviations.
        drift_scale: factor on nu.
    """

    t_0: float
    t_read: float
    prog_noise_scale: float
    read_noise_scale: float
    drift_scale: float

    @abstractmethod
    def drift_mean_std(self, g_target: Array) -> tuple[Array, Array]:
        """Mean and standard deviation of the normal behind nu, before folding and scaling."""

    @abstractmethod
    def relative_read_noise(self, g_prog: Array) -> Array:
        """Q, the relative standard deviation of a read per unit of S(t)."""

    def drift_coefficients(self, g_target: Array, xi: Array) -> Array:
        """The exponents nu; from the targets, so that programming errors and nu are independent."""
        mean, std = self.drift_mean_std(g_target)
        return array_namespace(xi).abs(mean + std * xi) * self.drift_scale

    def read_std(self, g_prog: Array, g_drifted: Array, t: float) -> Array:
        """Standard deviation of a read `t` seconds after programming, read_noise_scale included."""
        factor = self.read_noise_scale * read_noise_factor(t + self.t_0, self.t_read)
        return g_drifted * self.relative_read_noise(g_prog) * factor

    def read_parts(self, g_prog: Array, coefficients: Array, t: float) -> tuple[Array, Array]:
        """Drifted conductances, and the standard deviation of a read."""
        g_drifted = power_law(array_namespace(g_prog), g_prog, coefficients, t, self.t_0)
        return g_drifted, self.read_std(g_prog, g_drifted, t)

    def conductance_at(self, g_prog: Array, coefficients: Array, t: float, xi: Array) -> Array:
        """Drifted conductances with read noise, clipped at zero."""
        g_drifted, std = self.read_parts(g_prog, coefficients, t)
        return rectify(g_drifted + std * xi)

    def check(self) -> None:
        """Raises ConfigError when a parameter has an impossible value."""
        super().check()
        require_positive(self, "t_0", "t_read")

    def relative(self, g: Array) -> Array:
        """max(g / g_max, 1e-7), a safe argument of a logarithm."""
        return at_least(g / self.g_max, EPS)
