"""Phase-change memory of the HERMES project chip."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from array_api_compat import array_namespace

from ..arrays import polynomial
from ..converters import BaseConductanceConverter
from ..errors import ConfigError
from .base import pair_converter
from .fitted_pcm import FittedPCMNoiseModel

Array = Any


@dataclass(frozen=True)
class _Piecewise:
    """clip(slope ln r + offset, low, high) below the joint, a polynomial of r from the joint on."""

    slope: float
    offset: float
    low: float
    high: float
    joint: float
    coefficients: tuple[float, ...]

    def __call__(self, xp: Any, r: Array, log_r: Array) -> Array:
        small = xp.clip(log_r * self.slope + self.offset, self.low, self.high)
        return xp.where(r < self.joint, small, polynomial(self.coefficients, r))


@dataclass(frozen=True)
class _Fit:
    """The fits for one number of devices per polarity."""

    g_max: float
    t_0: float
    prog_coeff: tuple[float, ...]
    nu_std: _Piecewise
    read: _Piecewise


_NU_MEAN = _Piecewise(-0.0387, -0.0182, 0.0720, 0.13, 0.0945, (0.0736, -0.0126, -0.0436))
_FITS = {
    1: _Fit(
        g_max=10.35,
        t_0=200.0,
        prog_coeff=(0.15781817, 2.32443916, -2.16310839, 0.68841818),
        nu_std=_Piecewise(-0.0120, -0.0023, 0.0124, 0.04, 0.3039, (0.0104, 0.0116, -0.0165)),
        read=_Piecewise(-0.0078, 0.0038, 0.0179, 0.04, 0.1591, (0.0088, 0.0768, -0.1352, 0.0664)),
    ),
    2: _Fit(
        g_max=20.7,
        t_0=300.0,
        prog_coeff=(0.16603222, 4.71806468, -8.48101252, 4.68961419),
        nu_std=_Piecewise(-0.0117, -0.0057, 0.0091, 0.04, 0.3055, (0.0073, 0.0093, -0.0118)),
        read=_Piecewise(-0.0117, -0.0069, 0.015, 0.04, 0.16, (0.0123, 0.0211, -0.0280, 0.0069)),
    ),
}


def _require_known(num_devices: Any) -> None:
    if not isinstance(num_devices, int) or num_devices not in _FITS:
        raise ConfigError(f"num_devices of HermesNoiseModel must be 1 or 2, got {num_devices}.")


class HermesNoiseModel(FittedPCMNoiseModel):
    """Inference noise of the HERMES project chip, with one or two PCM devices per polarity.

    Two devices are programmed more accurately (the state-dependent scheme of Vasilopoulos et al. 2023,
    doi:10.1109/TED.2023.3321014); their drift assumes that both hold the same conductance, somewhat pessimistic.
    Programming error, drift exponents and read noise are piecewise fits of r = g / g_max. Sources: Le Gallo et al.
    2023, doi:10.1038/s41928-023-01010-1; Khaddam-Aljameh et al. 2022, doi:10.1109/JSSC.2022.3140414.

    Args:
        prog_coeff: programming error in microsiemens, a polynomial of r (default: the fit for `num_devices`).
        g_converter: conductance converter (default: single pair).
        num_devices: devices per polarity, 1 or 2.
        g_max: largest conductance in microsiemens (default and upper limit: 10.35 for one device, 20.7 for two).
        t_read: width of a read pulse in seconds.
        t_0: device age at the first read in seconds (default 200 for one device, 300 for two).
        prog_noise_scale, read_noise_scale, drift_scale: factors on the three effects; 0 switches one off.
        prog_coeff_g_max_reference: g_max, in microsiemens, at which `prog_coeff` holds (default: that of the fit for
            the default coefficients, g_max for given ones).

    Raises:
        ConfigError: a parameter has an impossible value.
    """

    num_devices: int

    def __init__(
        self,
        prog_coeff: Sequence[float] | None = None,
        g_converter: BaseConductanceConverter | None = None,
        num_devices: int = 2,
        g_max: float | None = None,
        t_read: float = 512e-9,
        t_0: float | None = None,
        prog_noise_scale: float = 1.0,
        read_noise_scale: float = 1.0,
        drift_scale: float = 1.0,
        prog_coeff_g_max_reference: float | None = None,
    ) -> None:
        _require_known(num_devices)
        fit = _FITS[num_devices]
        self.num_devices = num_devices
        self.g_converter = pair_converter(g_converter, g_max, fit.g_max)
        self._set_programming_fit(prog_coeff, prog_coeff_g_max_reference, fit.prog_coeff, fit.g_max)
        self.t_read = t_read
        self.t_0 = fit.t_0 if t_0 is None else t_0
        self.prog_noise_scale = prog_noise_scale
        self.read_noise_scale = read_noise_scale
        self.drift_scale = drift_scale
        self.check()

    def drift_mean_std(self, g_target: Array) -> tuple[Array, Array]:
        """Mean and standard deviation of the drift exponent."""
        xp = array_namespace(g_target)
        r = self.relative(g_target)
        log_r = xp.log(r)
        return _NU_MEAN(xp, r, log_r), _FITS[self.num_devices].nu_std(xp, r, log_r)

    def relative_read_noise(self, g_prog: Array) -> Array:
        """Q of the programmed conductance."""
        xp = array_namespace(g_prog)
        r = self.relative(g_prog)
        return _FITS[self.num_devices].read(xp, r, xp.log(r))

    def check(self) -> None:
        """Raises ConfigError when a parameter has an impossible value."""
        super().check()
        _require_known(self.num_devices)
        if self.g_max > _FITS[self.num_devices].g_max:
            limit = _FITS[self.num_devices].g_max
            raise ConfigError(
                f"{self.num_devices} HERMES device(s) reach {limit} microsiemens at most, got g_max={self.g_max}."
            )
