"""PCM with drift exponents tabulated over the conductance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from array_api_compat import array_namespace, device

from ..arrays import interpolate
from ..converters import BaseConductanceConverter
from ..errors import ConfigError
from .base import table_of
from .pcm import PCMLikeNoiseModel

Array = Any


class CustomDriftPCMLikeNoiseModel(PCMLikeNoiseModel):
    """PCMLikeNoiseModel whose drift exponents come from a table, interpolated linearly in the target conductance.

    Source: Li et al. 2023, doi:10.1002/aelm.202201190.

    Args:
        custom_drift_model: mapping with the keys `g_lst` (ascending conductances in microsiemens that enclose the
            converter's range), `nu_mean_lst` and `nu_std_lst` (mean and standard deviation of nu there).
        prog_coeff, g_converter, g_max, t_read, t_0, prog_noise_scale, read_noise_scale: as PCMLikeNoiseModel.
        drift_scale, prog_coeff_g_max_reference: as PCMLikeNoiseModel.

    Raises:
        ConfigError: the table is incomplete, not ascending, negative or too narrow, or another parameter is impossible.
    """

    custom_drift_model: dict[str, tuple[float, ...]]

    def __init__(
        self,
        custom_drift_model: Mapping[str, Sequence[float]],
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
        self.custom_drift_model = table_of(custom_drift_model, "custom_drift_model")
        super().__init__(
            prog_coeff=prog_coeff,
            g_converter=g_converter,
            g_max=g_max,
            t_read=t_read,
            t_0=t_0,
            prog_noise_scale=prog_noise_scale,
            read_noise_scale=read_noise_scale,
            drift_scale=drift_scale,
            prog_coeff_g_max_reference=prog_coeff_g_max_reference,
        )

    def drift_mean_std(self, g_target: Array) -> tuple[Array, Array]:
        """The two tables, interpolated at the target conductance."""
        xp = array_namespace(g_target)
        g, mean, std = (
            xp.asarray(self.custom_drift_model[name], dtype=g_target.dtype, device=device(g_target)) for name in _KEYS
        )
        return interpolate(xp, g_target, g, mean), interpolate(xp, g_target, g, std)

    def check(self) -> None:
        """Raises ConfigError when a parameter has an impossible value."""
        super().check()
        table = self.custom_drift_model
        if set(table) != set(_KEYS):
            raise ConfigError(f"custom_drift_model needs exactly the keys {', '.join(_KEYS)}, got {', '.join(table)}.")
        g = table["g_lst"]
        if len(g) < 2 or any(len(table[name]) != len(g) for name in _KEYS):
            raise ConfigError("The lists of custom_drift_model need one common length of at least 2.")
        if any(b <= a for a, b in pairwise(g)) or g[0] < 0.0:
            raise ConfigError("g_lst of custom_drift_model must ascend strictly from a conductance of at least 0.")
        if min(table["nu_std_lst"]) < 0.0:
            raise ConfigError("nu_std_lst of custom_drift_model must not be negative.")
        low, high = self.g_converter.g_min, self.g_converter.g_max
        if not g[0] <= low <= high <= g[-1]:
            raise ConfigError(
                f"g_lst of custom_drift_model covers [{g[0]}, {g[-1]}], not the converter's [{low}, {high}]."
            )


_KEYS = ("g_lst", "nu_mean_lst", "nu_std_lst")
