"""The converters around a crossbar: parameters and constants of the two directions of the product."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from . import _core
from .config import (
    AnalogMVType,
    IOParameters,
    IOParametersIRDropT,
    MappingParameter,
    NoiseManagementType,
    RPUConfigBase,
)

DIRECTIONS = ("forward", "backward")


def io_of(config: RPUConfigBase, direction: str) -> IOParameters:
    """The signal chain of a direction; digital tiles have a perfect one."""
    return getattr(config, direction, None) or IOParameters(is_perfect=True)


def buffer_shapes(io: IOParameters, direction: str, weights: tuple[int, int]) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the arrays that a direction keeps: constants drawn once, and the running mean."""
    if io.is_perfect or io.mv_type is AnalogMVType.IDEAL:
        return {}
    outputs = weights[0] if direction == "forward" else weights[1]
    shapes: dict[str, tuple[bool, tuple[int, ...]]] = {
        "out_noise": (io.out_noise_std > 0.0, (outputs,)),
        "nonlinearity": (io.out_nonlinearity > 0.0, (outputs,)),
        "voltage_offset": (io.v_offset_std > 0.0, (outputs,)),
        "read_asymmetry": (io.w_read_asymmetry_dtod > 0.0, weights),
        "running_mean": (io.noise_management is NoiseManagementType.AVERAGE_ABS_MAX, (1,)),
    }
    return {name: shape for name, (needed, shape) in shapes.items() if needed}


def physical_inputs(io: IOParameters, direction: str, mapping: MappingParameter) -> int:
    """Inputs of the physical array around the tile, on which the time-sliced IR drop depends; 0 without it."""
    if not isinstance(io, IOParametersIRDropT):
        return 0
    return max(1, mapping.max_input_size if direction == "forward" else mapping.max_output_size)


def product(
    io: IOParameters,
    direction: str,
    weights: NDArray[Any],
    arrays: dict[str, NDArray[Any]],
    mapping: MappingParameter | None = None,
) -> Any:
    """The compiled product of one direction on borrowed arrays, in an array of the size that ``mapping`` says."""
    shape = (weights.shape[0], weights.shape[1])
    mapping = MappingParameter() if mapping is None else mapping
    constants = {name: arrays[f"buffer.{direction}_{name}"] for name in buffer_shapes(io, direction, shape)}
    physical = physical_inputs(io, direction, mapping)
    return _core.AnalogProduct(io, direction == "backward", weights, physical_inputs=physical, **constants)
