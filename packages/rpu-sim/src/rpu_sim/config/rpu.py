"""Configurations of a whole tile."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .base import ConfigBase, param, require, walk
from .compounds import (
    DigitalRankUpdateCell,
    MixedPrecisionCompound,
    OneSidedUnitCell,
    TransferCompound,
    UnitCell,
    VectorUnitCell,
)
from .devices import ConstantStepDevice, Device, FloatingPointDevice, TableStepDevice
from .enums import CycleNoiseType, PulseType
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

    def check(self) -> None:
        super().check()
        parts = list(walk(self))
        closed = any(isinstance(p, UpdateParameters) and p.noise is CycleNoiseType.CLOSED_FORM for p in parts)
        tables = any(isinstance(part, TableStepDevice) for part in parts)
        require(not (closed and tables), self, "pulses of a TableStepDevice have no CLOSED_FORM; use another noise")


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


@dataclass
class UnitCellRPUConfig(RPUConfigBase):
    """A crossbar with several devices per crosspoint, or with a learning algorithm on several arrays."""

    device: UnitCell = param(UnitCell, "The cell or compound; it must be set.")
    forward: IOParameters = param(IOParameters, "Signal chain of the forward product.")
    backward: IOParameters = param(IOParameters, "Signal chain of the backward product.")
    update: UpdateParameters = param(UpdateParameters, "How updates become pulses.")

    def check(self) -> None:
        super().check()
        kinds = (VectorUnitCell, OneSidedUnitCell, TransferCompound)
        require(isinstance(self.device, kinds), self, "device must be set to a cell, such as VectorUnitCell")
        _refuse_updates_without_pulses(self, self.update)
        one_sided = any(isinstance(part, OneSidedUnitCell) for part in walk(self.device))
        flows = self.update.pulse_type is PulseType.MEAN_FIELD
        require(not (one_sided and flows), self, "one-sided cells have no mean field; use another pulse_type")


@dataclass
class DigitalRankUpdateRPUConfig(RPUConfigBase):
    """A crossbar whose gradient is accumulated digitally."""

    device: DigitalRankUpdateCell = param(DigitalRankUpdateCell, "The compound; it must be set.")
    forward: IOParameters = param(IOParameters, "Signal chain of the forward product.")
    backward: IOParameters = param(IOParameters, "Signal chain of the backward product.")
    update: UpdateParameters = param(
        UpdateParameters, "Not used by mixed precision, which writes exact numbers of pulses; but for ``NONE``."
    )

    def check(self) -> None:
        concrete = isinstance(self.device, MixedPrecisionCompound)
        require(concrete, self, "device must be set to a compound, such as MixedPrecisionCompound")
        super().check()
        _refuse_updates_without_pulses(self, self.update)


def _refuse_updates_without_pulses(config: ConfigBase, update: UpdateParameters) -> None:
    has_pulses = update.pulse_type is not PulseType.NONE_WITH_DEVICE
    require(has_pulses, config, "NONE_WITH_DEVICE does not say which device of a cell changes; use another pulse_type")


RPUConfig = FloatingPointRPUConfig | SingleRPUConfig | UnitCellRPUConfig | DigitalRankUpdateRPUConfig
