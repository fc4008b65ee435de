"""Configurations as plain dicts (for JSON, TOML and presets): ``{"class": name, field: value}``, only what differs.

Enum members are given by name, nested configurations as nested dicts. A nested object that is not listed has the value
the enclosing class gives to it; one that is listed starts from the defaults of its own class.
"""

from __future__ import annotations

import enum
from typing import Any

from ..errors import ConfigError
from . import compounds, devices, io, mapping, rpu, update, weight_ops
from .base import ConfigBase, changed_fields, field_types


def _classes() -> dict[str, type[ConfigBase]]:
    found: dict[str, type[ConfigBase]] = {}
    for module in (devices, compounds, io, update, mapping, rpu, weight_ops):
        for name, value in vars(module).items():
            if isinstance(value, type) and issubclass(value, ConfigBase) and value is not ConfigBase:
                found[name] = value
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, ConfigBase):
        return to_dict(value)
    if isinstance(value, enum.Enum):
        return value.name
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, type):
        return None  # tile classes belong to frontends, which put them back
    return value


def to_dict(config: ConfigBase) -> dict[str, Any]:
    """The plain form of ``config``; `from_dict` gives it back."""
    fields = {name: _plain(value) for name, value in changed_fields(config)}
    return {"class": type(config).__name__, **{k: v for k, v in fields.items() if v is not None}}


def from_dict(plain: dict[str, Any]) -> Any:
    """The configuration described by ``plain``.

    Raises:
        ConfigError: for an unknown class, field or enum member.
    """
    classes = _classes()
    name = plain.get("class")
    if name not in classes:
        raise ConfigError(f"unknown configuration class {name!r}; known are {', '.join(sorted(classes))}")
    config = classes[name]()
    types = field_types(classes[name])
    for key, value in plain.items():
        if key != "class":
            setattr(config, key, _from_plain(value, types.get(key), f"{name}.{key}"))
    return config


def _from_plain(value: Any, kind: Any, where: str) -> Any:
    if isinstance(value, dict):
        return from_dict(value)
    if isinstance(value, (list, tuple)):
        return [_from_plain(v, None, f"{where}[{i}]") for i, v in enumerate(value)]
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        if value not in kind.__members__:
            raise ConfigError(f"{where} is {value!r}; use one of {', '.join(kind.__members__)}")
        return kind[value]
    return value
