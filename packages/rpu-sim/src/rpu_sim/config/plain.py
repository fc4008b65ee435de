"""Configurations as plain dicts (for JSON, TOML and presets): ``{"class": name, field: value}``, only what differs.

Enum members are given by name, nested configurations as nested dicts. A nested object that is not listed has the value
the enclosing class gives to it; one that is listed starts from the defaults of its own class.
"""

from __future__ import annotations

import enum
import functools
from collections.abc import Callable
from typing import Any

from ..errors import ConfigError
from . import compounds, devices, io, mapping, rpu, update, weight_ops
from .base import ConfigBase, changed_fields, field_types

_registered: dict[str, type[ConfigBase]] = {}
_to_plain: dict[type, Callable[[Any], dict[str, Any]]] = {}
_from_plain_class: dict[str, Callable[[dict[str, Any]], Any]] = {}


def register_class(
    cls: type,
    to_plain: Callable[[Any], dict[str, Any]] | None = None,
    from_plain: Callable[[dict[str, Any]], Any] | None = None,
) -> None:
    """Let `to_dict` and `from_dict` know a class that another package defines.

    Args:
        cls: A configuration class; or any class, with the two functions between its objects and plain dicts.
        to_plain: The plain dict of an object, with its class name under ``"class"``.
        from_plain: The object of a plain dict.
    """
    if to_plain is None or from_plain is None:
        _registered[cls.__name__] = cls
    else:
        _to_plain[cls], _from_plain_class[cls.__name__] = to_plain, from_plain


def _classes() -> dict[str, type[ConfigBase]]:
    return _registered | _own_classes()


@functools.cache
def _own_classes() -> dict[str, type[ConfigBase]]:
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
    return _to_plain[type(value)](value) if type(value) in _to_plain else value


def to_dict(config: ConfigBase) -> dict[str, Any]:
    """The plain form of ``config``; `from_dict` gives it back.

    A class derived from one of the configuration classes, such as a preset, is written as that class.
    """
    classes = _classes()
    known = next((base for base in type(config).__mro__ if classes.get(base.__name__) is base), type(config))
    # Tile classes belong to frontends, which put them back.
    changed = {name: value for name, value in changed_fields(config, known) if not isinstance(value, type)}
    return {"class": known.__name__, **{name: _plain(value) for name, value in changed.items()}}


def from_dict(plain: dict[str, Any]) -> Any:
    """The configuration described by ``plain``.

    Raises:
        ConfigError: for an unknown class, field or enum member.
    """
    classes = _classes()
    name = plain.get("class") if isinstance(plain, dict) else None
    if not isinstance(name, str):
        raise ConfigError(f'a plain configuration is a dict that names its class under "class", not {plain!r:.80}')
    if name in _from_plain_class:
        return _from_plain_class[name](plain)
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
