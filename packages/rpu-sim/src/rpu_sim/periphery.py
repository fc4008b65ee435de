"""The converters around a crossbar: parameters and constants of the two directions of the product."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from . import _core
from .config import IOParameters, NoiseManagementType, RPUConfigBase

DIRECTIONS = ("forward", "backward")


def io_of(config: RPUConfigBase, direction: str) -> IOParameters:
    """The signal chain of a direction; digital tiles have a perfect one."""
    return getattr(config, direction, None) or IOParameters(is_perfect=True)


def buffer_sizes(io: IOParameters, outputs: int) -> dict[str, int]:
    """Names and lengths of the arrays that a direction keeps: constants drawn once, and the running mean."""
    sizes = {}
    if not io.is_perfect and io.out_noise_std > 0.0:
        sizes["out_noise"] = outputs
    if not io.is_perfect and io.noise_management is NoiseManagementType.AVERAGE_ABS_MAX:
        sizes["running_mean"] = 1
    return sizes


def product(io: IOParameters, direction: str, weights: NDArray[Any], arrays: dict[str, NDArray[Any]]) -> Any:
    """The compiled product of one direction on borrowed arrays."""
    constants = {name: arrays[f"buffer.{direction}_{name}"] for name in buffer_sizes(io, 0)}
    return _core.AnalogProduct(io, direction == "backward", weights, **constants)
