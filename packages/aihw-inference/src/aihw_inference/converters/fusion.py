"""Export of weights to a chip with one device per weight, and recovery of weights from what was measured there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..arrays import checked_real, finite_array, require_same_shape
from ..errors import ConductanceError, ConfigError, ShapeError

Array = Any

_SMALLEST = 1e-10  # guards the scale of a row of zeros


@dataclass(frozen=True, eq=False)
class FusionParameters:
    """What the chip does not hold.

    Attributes:
        weights: the original weights [out, in], which have the signs and the reference of the regression.
        scale_ratio: microsiemens per unit of weight of each row, [out].
    """

    weights: Array
    scale_ratio: Array


@dataclass(frozen=True)
class FusionConductanceConverter:
    """One device per weight, which holds its magnitude; each output row uses the whole range.

    The signs stay off the chip. Measured conductances become weights through a line fitted to the original weights, row
    by row, whose slope undoes the scale and any common drift. It is made for exporting to a chip and reading back, not
    as the converter of a noise model.

    Args:
        g_max: largest conductance in microsiemens, between 10 and 40.

    Raises:
        ConfigError: g_max out of range.
    """

    g_max: float = 40.0

    def __post_init__(self) -> None:
        if not 10.0 <= checked_real(self.g_max, "g_max of the chip") <= 40.0:
            raise ConfigError(f"g_max of the chip must lie between 10 and 40 microsiemens, got {self.g_max}.")

    def convert_to_conductances(self, weights: Array) -> tuple[list[Array], FusionParameters]:
        """(one array of conductances [out, in] in a list, parameters) of a weight matrix [out, in]."""
        xp, weights = finite_array(weights, "weights")
        if weights.ndim != 2 or 0 in weights.shape:
            raise ShapeError(f"the chip takes weight matrices [out, in], got the shape {tuple(weights.shape)}.")
        magnitude = xp.abs(weights)
        largest = xp.max(magnitude, axis=1)
        scale = self.g_max / xp.clip(largest, min=_SMALLEST)
        return [magnitude * scale[:, None]], FusionParameters(xp.asarray(weights, copy=True), scale)

    def convert_back_to_weights(self, conductances: Any, params: FusionParameters) -> Array:
        """The weights [out, in] behind measured conductances, up to the intercept of each row's line.

        A row whose conductances are all equal has no line; it gets the scale of the export.

        Raises:
            ShapeError: not one array of the shape of the weights.
            ConductanceError: a conductance is negative.
        """
        listed = list(conductances) if isinstance(conductances, list | tuple) else [conductances]
        if len(listed) != 1:
            raise ShapeError(f"the chip has one device per weight, got {len(listed)} arrays of conductances.")
        xp, g = finite_array(listed[0], "conductances")
        require_same_shape(g, params.weights, "The conductances and the exported weights")
        if bool(xp.any(g < 0.0)):
            raise ConductanceError("conductances read from the chip must not be negative; subtract no offset twice.")
        signed = g * xp.sign(params.weights)
        centred = signed - xp.mean(signed, axis=1, keepdims=True)
        spread = xp.sum(centred * centred, axis=1)
        slope = xp.sum(centred * params.weights, axis=1) / xp.where(spread > 0.0, spread, xp.ones_like(spread))
        return signed * xp.where(spread > 0.0, slope, 1.0 / params.scale_ratio)[:, None]
