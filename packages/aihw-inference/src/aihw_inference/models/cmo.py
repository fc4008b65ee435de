"""Conductive-metal-oxide / HfOx ReRAM."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from array_api_compat import array_namespace

from ..arrays import at_least, checked_real
from ..converters import SingleDeviceConductanceConverter
from ..errors import ConfigError
from ..read_noise import read_noise_factor
from .base import BaseNoiseModel, table_by_number, table_of

Array = Any


class ReRamCMONoiseModel(BaseNoiseModel):
    """Inference noise of analog CMO/HfOx ReRAM: one bidirectional device per weight.

    Programming error c0 + c1 g. Relaxation from 1 s on: mean shift m ln t and spread s1 ln t + s0, one normal per
    device kept from programming on. Read noise K log10(g) sqrt(ln((t + t_read) / (2 t_read))). Reads are clipped to
    [g_min, g_max]; at t = 0 there is neither relaxation nor read noise. Sources: Falcone et al. 2025,
    arXiv:2502.04524; Lombardo et al. 2024, doi:10.1109/DRC61706.2024.10643760.

    Args:
        coeff_dict: acceptance range of the programming loop (a fraction) -> (c0 in microsiemens, c1)
            (default: 0.002 and 0.02).
        g_max, g_min: conductance range in microsiemens (default 88.199997 and 9).
        prog_noise_scale, read_noise_scale, drift_scale: factors on the three effects; 0 switches one off.
        decay_dict: `mean` -> (m,) and `std` -> (s1, s0), in microsiemens (default -0.08900206; 0.04201137, 0.41183342).
        read_dict: `K` in microsiemens and `t_read` in seconds (default 0.0277316483 and 1e-6).
        acceptance_range: the key of `coeff_dict` to use, a fraction: 0.002 is 0.2 %, 0.02 is 2 %.
        floor_time: use 1 s for times between 0 and 1 s, where the fit would raise conductances.

    Raises:
        ConfigError: a parameter has an impossible value.
    """

    coeff_dict: dict[float, tuple[float, ...]]
    prog_noise_scale: float
    read_noise_scale: float
    drift_scale: float
    decay_dict: dict[str, tuple[float, ...]]
    read_dict: dict[str, float]
    acceptance_range: float
    floor_time: bool

    def __init__(
        self,
        coeff_dict: Mapping[float, Sequence[float]] | None = None,
        g_max: float | None = None,
        g_min: float | None = None,
        prog_noise_scale: float = 1.0,
        read_noise_scale: float = 1.0,
        drift_scale: float = 1.0,
        decay_dict: Mapping[str, Sequence[float]] | None = None,
        read_dict: Mapping[str, float] | None = None,
        acceptance_range: float = 2e-2,
        *,
        floor_time: bool = True,
    ) -> None:
        self.g_converter = SingleDeviceConductanceConverter(g_max, g_min)
        self.coeff_dict = table_by_number(_PROGRAMMING if coeff_dict is None else coeff_dict, "coeff_dict")
        self.prog_noise_scale = prog_noise_scale
        self.read_noise_scale = read_noise_scale
        self.drift_scale = drift_scale
        self.decay_dict = table_of(_RELAXATION if decay_dict is None else decay_dict, "decay_dict")
        read = _READ if read_dict is None else read_dict
        if not isinstance(read, Mapping):
            raise ConfigError(f"read_dict must be a mapping to numbers, got {read!r}.")
        self.read_dict = {key: checked_real(value, "read_dict") for key, value in read.items()}
        self.acceptance_range = acceptance_range
        self.floor_time = floor_time
        self.check()

    def programming_std(self, g_target: Array) -> Array:
        """c0 + c1 g, with g in microsiemens."""
        offset, slope = self.coeff_dict[self.acceptance_range]
        return (g_target * slope + offset) * self.prog_noise_scale

    def program_conductance(self, g_target: Array, xi: Array) -> Array:
        """Programmed conductances; the programming loop may end slightly outside the range, so there is no clip."""
        return g_target + self.programming_std(g_target) * xi

    def drift_coefficients(self, g_target: Array, xi: Array) -> Array:
        """The standard normal of each device's relaxation."""
        return g_target * 0.0 + xi

    def conductance_at(self, g_prog: Array, coefficients: Array, t: float, xi: Array) -> Array:
        """Relaxed conductances with read noise, within [g_min, g_max]."""
        g_relaxed, std = self._relaxed(g_prog, coefficients, t)
        return self._within(g_relaxed + std * xi)

    def read_parts(self, g_prog: Array, coefficients: Array, t: float) -> tuple[Array, Array]:
        """Relaxed conductances within [g_min, g_max], and the standard deviation of a read."""
        g_relaxed, std = self._relaxed(g_prog, coefficients, t)
        return self._within(g_relaxed), std

    def _relaxed(self, g_prog: Array, coefficients: Array, t: float) -> tuple[Array, Array]:
        if t == 0.0:
            return g_prog, g_prog * 0.0
        t = max(t, 1.0) if self.floor_time else t
        mean, std = self.relaxation(t)
        g_relaxed = g_prog + self.drift_scale * mean + coefficients * (self.drift_scale * std)
        return g_relaxed, self.read_std(g_relaxed, t)

    def _within(self, g: Array) -> Array:
        return array_namespace(g).clip(g, self.g_converter.g_min, self.g_converter.g_max)

    def relaxation(self, t: float) -> tuple[float, float]:
        """(mean shift, standard deviation) in microsiemens at t > 0 s, before drift_scale."""
        slope, offset = self.decay_dict["std"]
        return self.decay_dict["mean"][0] * math.log(t), slope * math.log(t) + offset

    def read_std(self, g: Array, t: float) -> Array:
        """Standard deviation of a read at t > 0 s, read_noise_scale included; 0 below 1 microsiemens."""
        factor = self.read_noise_scale * self.read_dict["K"] * read_noise_factor(t, self.read_dict["t_read"])
        return array_namespace(g).log10(at_least(g, 1.0)) * factor

    def check(self) -> None:
        """Raises ConfigError when a parameter has an impossible value."""
        super().check()
        if checked_real(self.acceptance_range, "acceptance_range") not in self.coeff_dict:
            raise ConfigError(
                f"acceptance_range={self.acceptance_range} is no key of coeff_dict; "
                f"choose one of {sorted(self.coeff_dict)} (fractions: 0.002 is 0.2 %)."
            )
        if any(len(c) != 2 for c in self.coeff_dict.values()):
            raise ConfigError("coeff_dict needs two coefficients for each acceptance range.")
        if {key: len(c) for key, c in self.decay_dict.items()} != {"mean": 1, "std": 2}:
            raise ConfigError("decay_dict needs the key mean with one number and the key std with two.")
        if set(self.read_dict) != {"K", "t_read"}:
            raise ConfigError(f"read_dict needs the keys K and t_read, got {', '.join(map(str, self.read_dict))}.")
        if not (0.0 <= self.read_dict["K"] < math.inf and 0.0 < self.read_dict["t_read"] < math.inf):
            raise ConfigError(f"read_dict needs K >= 0 and t_read > 0, both finite, got {self.read_dict}.")


_PROGRAMMING = {0.002: (0.00081107, 0.00106879), 0.02: (0.0112185391, 0.01129027418)}
_RELAXATION = {"mean": (-0.08900206,), "std": (0.04201137, 0.41183342)}
_READ = {"K": 0.0277316483, "t_read": 1e-6}
