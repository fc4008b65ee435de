"""Configurations of learning algorithms by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..errors import ConfigError
from .base import ConfigBase
from .compounds import (
    ChoppedTransferCompound,
    DynamicTransferCompound,
    MixedPrecisionCompound,
    TransferCompound,
    VectorUnitCell,
)
from .enums import BoundManagementType, NoiseManagementType, VectorUnitCellUpdatePolicy
from .io import IOParameters
from .rpu import DigitalRankUpdateRPUConfig, RPUConfigBase, SingleRPUConfig, UnitCellRPUConfig
from .update import UpdateParameters

ALGORITHMS = {
    "sgd": "sgd",
    "tiki-taka": "ttv1",
    "tt": "ttv1",
    "ttv1": "ttv1",
    "ttv2": "ttv2",
    "chopped-ttv2": "ttv3",
    "c-ttv2": "ttv3",
    "ttv3": "ttv3",
    "agad": "ttv4",
    "ttv4": "ttv4",
    "mp": "mixed-precision",
    "mixed-precision": "mixed-precision",
}

Template = ConfigBase | Callable[..., ConfigBase]


def build_config(
    algorithm: str,
    device: Template,
    io_parameters: Template = IOParameters,
    up_parameters: Template = UpdateParameters,
    n_devices: int = 1,
    construction_seed: int = 0,
    **kwargs: Any,
) -> RPUConfigBase:
    """The configuration of a learning algorithm on a device.

    Args:
        algorithm: One of the keys of `ALGORITHMS`, in any case. ``ttv2`` is a `ChoppedTransferCompound` without
            choppers, not a `BufferedTransferCompound`.
        device: The device, as a class, an instance or a function that makes one.
        io_parameters: Converters of the forward and backward product and of the reads of transfers.
        up_parameters: Pulses of updates and of transfers.
        n_devices: Devices per crosspoint with ``sgd``; several take turns at random.
        construction_seed: Seed of the draw of the devices; 0 takes that of the tile.
        kwargs: Further fields of the configuration, such as ``mapping``.

    Raises:
        ConfigError: for an unknown algorithm.
    """
    name = ALGORITHMS.get(str(algorithm).lower())
    if name is None:
        raise ConfigError(f"there is no algorithm {algorithm!r}; use one of {', '.join(ALGORITHMS)}")
    made = {"forward": _make(io_parameters), "backward": _make(io_parameters), "update": _make(up_parameters)}
    fields: dict[str, Any] = made | kwargs
    if name == "sgd" and n_devices == 1:
        return SingleRPUConfig(device=_make(device, construction_seed=construction_seed), **fields)  # type: ignore[arg-type]
    if name == "mixed-precision":
        compound = MixedPrecisionCompound(device=_make(device), construction_seed=construction_seed)
        return DigitalRankUpdateRPUConfig(device=compound, **fields)
    if name not in ("sgd", "ttv1"):
        fields["update"].desired_bl = 5
    cell = _cell(name, device, io_parameters, up_parameters, n_devices)
    cell.construction_seed = construction_seed
    return UnitCellRPUConfig(device=cell, **fields)


def _cell(name: str, device: Template, io: Template, up: Template, n_devices: int) -> Any:
    if name == "sgd":
        devices = [_make(device) for _ in range(n_devices)]
        return VectorUnitCell(unit_cell_devices=devices, update_policy=VectorUnitCellUpdatePolicy.SINGLE_RANDOM)
    pair = [_make(device), _make(device)]
    read = {"noise_management": NoiseManagementType.NONE, "bound_management": BoundManagementType.NONE}
    if name == "ttv1":
        return TransferCompound(
            unit_cell_devices=pair,
            transfer_forward=_make(io, **read),  # type: ignore[arg-type]
            transfer_update=_make(up),  # type: ignore[arg-type]
            units_in_mbatch=True,
        )
    managed = name == "ttv4"
    write = _make(up, desired_bl=1, update_bl_management=managed, update_management=managed)
    common: dict[str, Any] = {"unit_cell_devices": pair, "transfer_update": write, "units_in_mbatch": False}
    if name == "ttv2":
        return ChoppedTransferCompound(transfer_forward=_make(io, **read), in_chop_prob=0.0, **common)  # type: ignore[arg-type]
    common |= {"fast_lr": 0.1, "auto_scale": True}
    if name == "ttv3":
        return ChoppedTransferCompound(transfer_forward=_make(io, **read), **common)  # type: ignore[arg-type]
    return DynamicTransferCompound(transfer_forward=_make(io), **common)  # type: ignore[arg-type]


def _make(template: Template, **changes: Any) -> ConfigBase:
    """A new object from a class, a function or an instance, with some fields changed."""
    if not isinstance(template, ConfigBase) and not callable(template):
        raise ConfigError(f"devices and parameters are given as a class, an instance or a function, not {template!r}")
    made = template.mutable_copy() if isinstance(template, ConfigBase) else template()
    for name, value in changes.items():
        setattr(made, name, value)
    return made
