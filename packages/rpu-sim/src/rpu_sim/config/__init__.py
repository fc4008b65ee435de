"""Configuration of a simulated crossbar: ordinary mutable dataclasses, checked when a tile is made from them."""

from __future__ import annotations

from .base import ConfigBase
from .devices import (
    AffineStepDevice,
    ConstantStepDevice,
    Device,
    DriftParameter,
    ExpStepDevice,
    FloatingPointDevice,
    IdealDevice,
    LinearStepDevice,
    PulsedDevice,
    SimpleDriftParameter,
    SoftBoundsDevice,
)
from .enums import (
    AnalogMVType,
    BoundManagementType,
    CycleNoiseType,
    NoiseManagementType,
    PulseType,
    RPUDataType,
    WeightNoiseType,
)
from .io import IOParameters
from .mapping import InputRangeParameter, MappingParameter, PrePostProcessingParameter, RuntimeParameter
from .plain import from_dict, to_dict
from .rpu import FloatingPointRPUConfig, RPUConfig, RPUConfigBase, SingleRPUConfig
from .update import UpdateParameters

__all__ = [
    "AffineStepDevice",
    "AnalogMVType",
    "BoundManagementType",
    "ConfigBase",
    "ConstantStepDevice",
    "CycleNoiseType",
    "Device",
    "DriftParameter",
    "ExpStepDevice",
    "FloatingPointDevice",
    "FloatingPointRPUConfig",
    "IOParameters",
    "IdealDevice",
    "InputRangeParameter",
    "LinearStepDevice",
    "MappingParameter",
    "NoiseManagementType",
    "PrePostProcessingParameter",
    "PulseType",
    "PulsedDevice",
    "RPUConfig",
    "RPUConfigBase",
    "RPUDataType",
    "RuntimeParameter",
    "SimpleDriftParameter",
    "SingleRPUConfig",
    "SoftBoundsDevice",
    "UpdateParameters",
    "WeightNoiseType",
    "from_dict",
    "to_dict",
]
