"""Phase-change memory: a statistical model fitted to an array of one million devices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from array_api_compat import array_namespace

from ..arrays import at_least, at_most
from ..converters import BaseConductanceConverter
from .base import pair_converter
from .fitted_pcm import FittedPCMNoiseModel

Array = Any


class PCMLikeNoiseModel(FittedPCMNoiseModel):
    """Inference noise of phase-change memory.

    With r = g / g_max: programming error sum_i c_i r^i g_max / reference; drift exponent of mean
    clip(-0.0155 ln r + 0.0244, 0.049, 0.1) and standard deviation clip(-0.0125 ln r - 0.0059, 0.008, 0.045); relative
    read noise min(0.0088 / max(r^0.65, 1e-3), 0.2) S(t), r of the programmed conductance. Sources: Joshi et al. 2020,
    doi:10.1038/s41467-020-16108-9; Nandakumar et al. 2019, doi:10.1109/ICECS46596.2019.8964852.

    Args:
        prog_coeff: c_i in microsiemens (default 0.26348, 1.9650, -1.1731).
        g_converter: conductance converter (default: single pair).
        g_max: largest conductance in microsiemens (default 25); leave out when a converter is given.
        t_read: width of a read pulse in seconds.
        t_0: device age at the first read in seconds.
        prog_noise_scale, read_noise_scale, drift_scale: factors on the three effects; 0 switches one off.
        prog_coeff_g_max_reference: g_max, in microsiemens, at which `prog_coeff` holds (default: 25 for the default
            coefficients, g_max for given ones).

    Raises:
        ConfigError: a parameter has an impossible value.
    """

    def __init__(
        self,
        prog_coeff: Sequence[float] | None = None,
        g_converter: BaseConductanceConverter | None = None,
        g_max: float | None = None,
        t_read: float = 250e-9,
        t_0: float = 20.0,
        prog_noise_scale: float = 1.0,
        read_noise_scale: float = 1.0,
        drift_scale: float = 1.0,
        prog_coeff_g_max_reference: float | None = None,
    ) -> None:
        self.g_converter = pair_converter(g_converter, g_max, 25.0)
        self._set_programming_fit(prog_coeff, prog_coeff_g_max_reference, (0.26348, 1.9650, -1.1731), 25.0)
        self.t_read = t_read
        self.t_0 = t_0
        self.prog_noise_scale = prog_noise_scale
        self.read_noise_scale = read_noise_scale
        self.drift_scale = drift_scale
        self.check()

    def drift_mean_std(self, g_target: Array) -> tuple[Array, Array]:
        """Mean and standard deviation of the drift exponent."""
        xp = array_namespace(g_target)
        log_r = xp.log(self.relative(g_target))
        return xp.clip(log_r * -0.0155 + 0.0244, 0.049, 0.1), xp.clip(log_r * -0.0125 - 0.0059, 0.008, 0.045)

    def relative_read_noise(self, g_prog: Array) -> Array:
        """Q of the programmed conductance; 0.0088 at g_max, 0.2 at most."""
        r = self.relative(g_prog)
        return at_most(0.0088 / at_least(array_namespace(g_prog).pow(r, 0.65), 1e-3), 0.2)
