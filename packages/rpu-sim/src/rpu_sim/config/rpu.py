"""Configurations of a whole tile."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .base import ConfigBase, param
from .devices import ConstantStepDevice, Device, FloatingPointDevice
from .io import IOParameters
from .mapping import MappingParameter, PrePostProcessingParameter, RuntimeParameter
from .update import UpdateParameters


@dataclass
class RPUConfigBase(ConfigBase):
    """What every tile configuration has; ``rpu_sim`` ignores ``tile_class``, ``tile_array_class`` and the periphery."""

    tile_class: Any = param(None, "Tile class of a frontend.")
    tile_array_class: Any = param(None, "Class of a frontend for a grid of tiles.")
    mapping: MappingParameter = param(MappingParameter, "How a layer is mapped to tiles.")
    pre_post: PrePostProcessingParameter = param(PrePostProcessingParameter, "Digital processing around the tile.")
    runtime: RuntimeParameter = field(
        default_factory=RuntimeParameter, compare=False, metadata={"doc": "Settings of the run.", "unit": ""}
    )


@dataclass
class FloatingPointRPUConfig(RPUConfigBase):
    """A digital tile: exact products, exact updates."""

    device: FloatingPointDevice = param(FloatingPointDevice, "Slow processes of the weights, if any.")


@dataclass
class SingleRPUConfig(RPUConfigBase):
    """A crossbar with one device per crosspoint."""

    device: Device = param(ConstantStepDevice, "The device at each crosspoint.")
    forward: IOParameters = param(IOParameters, "Signal chain of the forward product.")
    backward: IOParameters = param(IOParameters, "Signal chain of the backward product.")
    update: UpdateParameters = param(UpdateParameters, "How updates become pulses.")


RPUConfig = FloatingPointRPUConfig | SingleRPUConfig
