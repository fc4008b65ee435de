"""The table of the names of aihwkit, `names.toml`, and how to look one up."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

TABLE = Path(__file__).parent / "names.toml"


@dataclass(frozen=True)
class Fate:
    """What became of a name.

    Attributes:
        name: in aihwkit.
        state: `present`, `changed`, `renamed`, `new` or `left out`.
        target: full path here, None if it was left out.
        note: what is different, or the reason, or nothing.
    """

    name: str
    state: str
    target: str | None
    note: str = ""

    @property
    def module(self) -> str:
        """The module that has it here."""
        return (self.target or "").rpartition(".")[0]

    @property
    def own_name(self) -> str:
        """The name it has there."""
        return (self.target or "").rpartition(".")[2]


@dataclass(frozen=True)
class Group:
    """Names of one module of aihwkit.

    Attributes:
        section: heading of the documentation.
        source: modules of aihwkit, without the leading `aihwkit.`.
        target: module here.
        fates: by name; `*` stands for all others.
    """

    section: str
    source: tuple[str, ...]
    target: str
    fates: dict[str, Fate] = field(default_factory=dict)


@dataclass(frozen=True)
class Members:
    """Attributes of one class.

    Attributes:
        section: heading of the documentation.
        module, owner: where the class is here.
        fates: by name; a target is the name itself.
        defaults: text of the defaults of those that state one.
    """

    section: str
    module: str
    owner: str
    fates: dict[str, Fate] = field(default_factory=dict)
    defaults: dict[str, str] = field(default_factory=dict)


@cache
def groups() -> tuple[Group, ...]:
    """Return all groups of names, in the order of the table."""
    return tuple(_group(entry) for entry in _table()["group"])


@cache
def members() -> tuple[Members, ...]:
    """Return the attributes of all classes, in the order of the table."""
    return tuple(_members(entry) for entry in _table()["members"])


@cache
def _table() -> dict[str, Any]:
    return tomllib.loads(TABLE.read_text(encoding="utf-8"))


def _group(entry: dict[str, Any]) -> Group:
    target, changed = entry["target"], dict(_spread(entry.get("changed", {})))
    fates = {name: Fate(name, "present", f"{target}.{name}") for name in entry.get("names", "").split()}
    fates |= {name: Fate(name, "new", f"{target}.{name}") for name in entry.get("new", "").split()}
    for name, note in changed.items():
        fates[name] = Fate(name, "changed", f"{target}.{name}", note)
    for name, path in entry.get("renamed", {}).items():
        fates[name] = Fate(name, "renamed", path, changed.get(name, ""))
    for name, why in _spread(entry.get("left_out", {})):
        fates[name] = Fate(name, "left out", None, why)
    return Group(entry["section"], tuple(entry["source"]), target, fates)


def _members(entry: dict[str, Any]) -> Members:
    module, _, owner = entry["owner"].partition(":")
    found = Members(entry["section"], module, owner)
    changed = dict(_spread(entry.get("changed", {})))
    for token in [*entry.get("names", "").split(), *changed]:
        name, _, default = token.partition("=")
        note = changed.get(token, "")
        found.fates[name] = Fate(name, "changed" if note else "present", name, note)
        if default:
            found.defaults[name] = default
    for name, why in _spread(entry.get("left_out", {})):
        found.fates[name] = Fate(name, "left out", None, why)
    return found


def _spread(table: dict[str, str]) -> Iterator[tuple[str, str]]:
    """Yield (name, text) of a table whose keys may list several names."""
    for names, text in table.items():
        yield from ((name, text) for name in names.split())


def lookup(module: str, name: str) -> Fate | None:
    """Return the fate of a name that is imported from a module of aihwkit; None if the table does not know it.

    A module may have imported the name from another one.

    Args:
        module: without the leading `aihwkit.`; `nn.modules.linear` has the names of `nn` too.
        name: such as `AnalogLinear`.
    """
    for group in _groups_of(module):
        if fate := group.fates.get(name) or group.fates.get("*"):
            return fate
    if not (_groups_of(module) or is_module(module)):
        return None
    elsewhere = [
        fate for group in groups() for own, fate in group.fates.items() if own == name
    ]  # imported there itself
    return elsewhere[0] if elsewhere and len({fate.target for fate in elsewhere}) == 1 else None


def target_module(module: str) -> str | None:
    """Return the module here that most names of a module of aihwkit went to; None if that is no module of the table."""
    found = _groups_of(module)
    return found[0].target if found else None


def is_module(path: str) -> bool:
    """Whether a path below aihwkit is a module of the table, or a package that holds one."""
    return any(source == path or source.startswith(f"{path}.") for group in groups() for source in group.source)


def _groups_of(module: str) -> list[Group]:
    """Return the groups of a module and of the packages around it, the closest first."""
    found = [
        (len(source), group)
        for group in groups()
        for source in group.source
        if source == module or (source and module.startswith(f"{source}."))
    ]
    return [group for _, group in sorted(found, key=lambda pair: -pair[0])]


def left_out_members() -> dict[str, str]:
    """Return the attributes that no class here has any more, with what to use instead."""
    found: dict[str, str] = {}
    for entry in members():
        for fate in entry.fates.values():
            if fate.state == "left out":
                found[fate.name] = fate.note
    return {name: why for name, why in found.items() if not any(_has(entry, name) for entry in members())}


def _has(entry: Members, name: str) -> bool:
    return name in entry.fates and entry.fates[name].state != "left out"
