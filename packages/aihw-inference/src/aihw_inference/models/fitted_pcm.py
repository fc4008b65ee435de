"""Phase-change memory whose programming error is a fitted polynomial: what the models of single chips share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..arrays import polynomial
from .base import coefficients_of, require_positive
from .power_law import PowerLawNoiseModel

Array = Any


class FittedPCMNoiseModel(PowerLawNoiseModel):
    """Programming error sum_i c_i r^i g_max / reference with r = g / g_max; derived classes have drift and read noise.

    Attributes:
        prog_coeff: c_i in microsiemens.
        prog_coeff_g_max_reference: g_max, in microsiemens, at which `prog_coeff` holds.
    """

    prog_coeff: tuple[float, ...]
    prog_coeff_g_max_reference: float

    def _set_programming_fit(
        self,
        prog_coeff: Sequence[float] | None,
        reference: float | None,
        default: Sequence[float],
        default_reference: float,
    ) -> None:
        """Set both parameters; the default coefficients hold at their own g_max, given ones at that of this model."""
        if prog_coeff is None:
            prog_coeff, holds_at = default, default_reference
        else:
            holds_at = self.g_max
        self.prog_coeff = coefficients_of(prog_coeff, "prog_coeff")
        self.prog_coeff_g_max_reference = holds_at if reference is None else reference

    def programming_std(self, g_target: Array) -> Array:
        """Polynomial of the relative target conductance, scaled to this g_max."""
        scale = self.prog_noise_scale * self.g_max / self.prog_coeff_g_max_reference
        return polynomial(self.prog_coeff, g_target / self.g_max) * scale

    def check(self) -> None:
        """Raises ConfigError when a parameter has an impossible value."""
        super().check()
        require_positive(self, "prog_coeff_g_max_reference")
