"""Configuration of a simulated crossbar: ordinary mutable dataclasses, checked when a tile is made from them."""

from __future__ import annotations

from .base import ConfigBase
from .compounds import (
    BufferedTransferCompound,
    ChoppedTransferCompound,
    DifferenceUnitCell,
    DigitalRankUpdateCell,
    DynamicTransferCompound,
    MixedPrecisionCompound,
    OneSidedUnitCell,
    ReferenceUnitCell,
    TransferCompound,
    UnitCell,
    VectorUnitCell,
)
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
    NoiseManagementType,
    PulseType,
    RPUDataType,
    VectorUnitCellUpdatePolicy,
    WeightClipType,
    WeightModifierType,
    WeightNoiseType,
    WeightRemapType,
)
from .io import IOParameters
from .mapping import InputRangeParameter, MappingParameter, PrePostProcessingParameter, RuntimeParameter
from .plain import from_dict, to_dict
from .rpu import (
    DigitalRankUpdateRPUConfig,
    FloatingPointRPUConfig,
    RPUConfig,
    RPUConfigBase,
    SingleRPUConfig,
    UnitCellRPUConfig,
)
from .update import UpdateParameters
from .weight_ops import WeightClipParameter, WeightModifierParameter, WeightRemapParameter

__all__ = [
    "AffineStepDevice",
    "AnalogMVType",
    "BoundManagementType",
    "BufferedTransferCompound",
    "ChoppedTransferCompound",
    "ConfigBase",
    "ConstantStepDevice",
    "Device",
    "DifferenceUnitCell",
    "DigitalRankUpdateCell",
    "DigitalRankUpdateRPUConfig",
    "DriftParameter",
    "DynamicTransferCompound",
    "ExpStepDevice",
    "FloatingPointDevice",
    "FloatingPointRPUConfig",
    "IOParameters",
    "IdealDevice",
    "InputRangeParameter",
    "LinearStepDevice",
    "MappingParameter",
    "MixedPrecisionCompound",
    "NoiseManagementType",
    "OneSidedUnitCell",
    "PrePostProcessingParameter",
    "PulseType",
    "PulsedDevice",
    "RPUConfig",
    "RPUConfigBase",
    "RPUDataType",
    "ReferenceUnitCell",
    "RuntimeParameter",
    "SimpleDriftParameter",
    "SingleRPUConfig",
    "SoftBoundsDevice",
    "TransferCompound",
    "UnitCell",
    "UnitCellRPUConfig",
    "UpdateParameters",
    "VectorUnitCell",
    "VectorUnitCellUpdatePolicy",
    "WeightClipParameter",
    "WeightClipType",
    "WeightModifierParameter",
    "WeightModifierType",
    "WeightNoiseType",
    "WeightRemapParameter",
    "WeightRemapType",
    "from_dict",
    "to_dict",
]
