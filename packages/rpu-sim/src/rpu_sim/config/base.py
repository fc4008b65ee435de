"""What every configuration dataclass shares: typo protection, type checks, freezing and plain-dict form.

The dataclasses are the only definition of the parameters. ``tools/gen_params.py`` reads them to write the C++ structs,
the JSON schema and the tables of the documentation, so a default is stated once.
"""

from __future__ import annotations

import copy
import dataclasses
import difflib
import functools
import math
import typing
from collections.abc import Callable, Iterator
from typing import Any, Self

from ..errors import ConfigError

LARGEST = 3e38  # the core keeps numbers in float32
_FROZEN = "_frozen"


def param(default: Any, doc: str, *, unit: str = "") -> Any:
    """A dataclass field with its documentation (and unit, where it has one) kept as metadata."""
    metadata = {"doc": doc, "unit": unit}
    if callable(default):  # a class or a function that makes the default
        return dataclasses.field(default_factory=default, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def _field_types(cls: type) -> dict[str, type]:
    """The resolved type of each dataclass field of ``cls``."""
    hints = typing.get_type_hints(cls)
    return {f.name: hints[f.name] for f in dataclasses.fields(cls)}


field_types: Callable[[type], dict[str, type]] = functools.cache(_field_types)


def is_sequence(kind: Any) -> bool:
    """Whether a field holds numbers in a row, or rows of them; such a field takes lists and keeps tuples."""
    return typing.get_origin(kind) is tuple


def _as_tuple(value: Any) -> Any:
    return tuple(_as_tuple(v) for v in value) if isinstance(value, (list, tuple)) else value


@dataclasses.dataclass
class ConfigBase:
    """Base of all configuration dataclasses.

    Setting an attribute that is not a field raises `ConfigError`, as does setting anything on a frozen configuration
    (the copy a tile keeps).
    """

    def __setattr__(self, name: str, value: Any) -> None:
        if self.__dict__.get(_FROZEN, False):
            raise ConfigError(
                f"this {type(self).__name__} belongs to a tile and is frozen; use tile.reconfigure(...) to change it"
            )
        if name not in field_types(type(self)):
            near = difflib.get_close_matches(name, field_types(type(self)), n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"its fields are {', '.join(field_types(type(self)))}"
            raise ConfigError(f"{type(self).__name__} has no field '{name}'; {hint}")
        if is_sequence(field_types(type(self))[name]):
            value = _as_tuple(value)
        object.__setattr__(self, name, value)

    def __str__(self) -> str:
        changed = [f"{name}={value}" for name, value in changed_fields(self)]
        return f"{type(self).__name__}({', '.join(changed)})"

    def check(self) -> None:
        """Raise `ConfigError` when a value has the wrong type or is impossible; overridden to add range rules."""
        for name, kind in field_types(type(self)).items():
            _check_type(getattr(self, name), kind, f"{type(self).__name__}.{name}")

    def frozen_copy(self) -> Self:
        """A deep copy that refuses changes, also in its nested configurations."""
        twin = self.mutable_copy()
        for part in walk(twin):
            object.__setattr__(part, _FROZEN, True)
        return twin

    def mutable_copy(self) -> Self:
        """A deep copy that accepts changes."""
        twin = copy.deepcopy(self)
        for part in walk(twin):
            part.__dict__.pop(_FROZEN, None)
        return twin


def _check_type(value: Any, kind: Any, where: str) -> None:
    if kind is float:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ConfigError(f"{where} must be a number, not {value!r}")
        if value != value:
            raise ConfigError(f"{where} is NaN; give a number")
        if abs(value) > LARGEST and value not in (math.inf, -math.inf):
            raise ConfigError(f"{where} is beyond the range of float32, {LARGEST:.2g}; give a smaller number")
    elif kind is int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise ConfigError(f"{where} must be an integer, not {value!r}")
        if not -(1 << 31) <= value < 1 << 31:
            raise ConfigError(f"{where} is beyond the range of 32-bit integers; give a smaller number")
    elif kind is bool:
        if not isinstance(value, bool):
            raise ConfigError(f"{where} must be True or False, not {value!r}")
    elif typing.get_origin(kind) in (list, tuple):
        if not isinstance(value, (list, tuple)):
            raise ConfigError(f"{where} must be a list, not {value!r}")
        for i, element in enumerate(value):
            _check_type(element, typing.get_args(kind)[0], f"{where}[{i}]")
    elif kind is not Any:
        if not isinstance(value, kind):
            expected = getattr(kind, "__name__", str(kind).replace(" |", " or"))
            raise ConfigError(f"{where} must be a {expected}, not {value!r}")
        if isinstance(value, ConfigBase):
            value.check()


def require(ok: bool, owner: ConfigBase, rule: str) -> None:
    """Raise a `ConfigError` naming the class of ``owner`` unless ``ok``."""
    if not ok:
        raise ConfigError(f"{type(owner).__name__}: {rule}")


def walk(config: ConfigBase, inside: tuple[ConfigBase, ...] = ()) -> Iterator[ConfigBase]:
    """``config`` and every configuration nested in it; raises `ConfigError` for one that holds itself."""
    if any(config is outer for outer in inside):
        raise ConfigError(f"this {type(config).__name__} holds itself; give it devices of its own")
    yield config
    for name in field_types(type(config)):
        value = getattr(config, name)
        for part in value if isinstance(value, (list, tuple)) else (value,):
            if isinstance(part, ConfigBase):
                yield from walk(part, (*inside, config))


def changed_fields(config: ConfigBase, cls: type[ConfigBase] | None = None) -> Iterator[tuple[str, Any]]:
    """The fields of ``config`` that differ from their defaults, or from those of the base class ``cls``."""
    for f in dataclasses.fields(type(config) if cls is None else cls):
        default = f.default_factory() if f.default_factory is not dataclasses.MISSING else f.default
        value = getattr(config, f.name)
        if value != default or type(value) is not type(default):
            yield f.name, value
