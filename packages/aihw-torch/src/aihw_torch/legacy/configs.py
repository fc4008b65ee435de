"""Configurations of aihwkit, read as records, as those of this package."""

from __future__ import annotations

import enum
import importlib
import inspect
from typing import Any

from aihw_torch.errors import ConfigError
from aihw_torch.legacy.reader import Record
from aihw_torch.migrate import names
from rpu_sim.config import from_dict, to_dict
from rpu_sim.config.base import ConfigBase, field_types

# Fields that a configuration of this package has no use for: the classes of tiles, and what could not be set.
_OWN = {"tile_class", "tile_array_class", "simulator_tile_class", "calibration_info", "on_the_fly_bindings"}
_FIXED = {
    "InferenceRPUConfig": {"device", "backward", "update"},
    "TorchInferenceRPUConfig": {"device", "backward", "update"},
}


def converted(record: Any, remarks: list[str]) -> Any:
    """Return the configuration of a record; what could not be taken over is added to the remarks.

    A part without counterpart has the value that this package gives it.
    """
    config = _object(record, remarks, "")
    if isinstance(config, ConfigBase):
        try:
            config.check()
        except ConfigError as error:
            remarks.append(f"the configuration is refused here: {error}")
        return from_dict(to_dict(config))  # a preset as the class that it configures, with the values of the file
    return config


def _object(record: Record, remarks: list[str], where: str) -> Any:
    """Return the object of a record, or None with a remark."""
    module, _, name = record.path().rpartition(".")
    fate = names.lookup(module, name)
    what = where or name
    if fate is None or fate.target is None:
        reason = "is not known" if fate is None else f"is left out: {fate.note}"
        remarks.append(f"{what}: {name} {reason}")
        return None
    cls = getattr(importlib.import_module(fate.module), fate.own_name)
    try:
        if issubclass(cls, enum.Enum):
            return cls(*record.arguments)
        if issubclass(cls, ConfigBase):
            return _configuration(cls, record, remarks, where)
        return _part(cls, record, remarks, what)
    except (ConfigError, ValueError, TypeError) as error:
        remarks.append(f"{what}: {name} is not taken over: {error}")
        return None


def _configuration(cls: type[ConfigBase], record: Record, remarks: list[str], where: str) -> ConfigBase:
    config, types = cls(), field_types(cls)
    fixed = next((_FIXED[base.__name__] for base in cls.__mro__ if base.__name__ in _FIXED), set())
    for name, value in record.fields.items():
        path = f"{where}.{name}" if where else name
        if name in _OWN or name in fixed or (name == "coeffs" and not _uses_coefficients(record)):
            continue
        if name not in types:
            if value not in (None, False, 0, [], {}):
                remarks.append(f"{path} = {value!r}: there is no such field")
            continue
        made = _value(value, remarks, path)
        if made is not None or value is None:
            setattr(config, name, made)
    return config


def _uses_coefficients(modifier: Record) -> bool:
    """Whether a weight modifier reads its coefficients, whose default is not ours."""
    kind = modifier.fields.get("type")
    return isinstance(kind, Record) and kind.arguments[:1] in (("Poly",), ("ProgNoise",))


def _part(cls: type, record: Record, remarks: list[str], where: str) -> Any:
    """Return a noise model, converter or compensation, which has its arguments as attributes."""
    fields = record.fields
    known = inspect.signature(cls).parameters
    arguments = {name: _value(fields[name], remarks, f"{where}.{name}") for name in known if name in fields}
    if arguments.get("g_converter") is not None:
        arguments.pop("g_max", None)  # that of the converter
    return cls(**arguments)


def _value(value: Any, remarks: list[str], where: str) -> Any:
    if isinstance(value, Record):
        return _object(value, remarks, where)
    if isinstance(value, list | tuple):
        return [_value(item, remarks, f"{where}[{i}]") for i, item in enumerate(value)]
    return value
