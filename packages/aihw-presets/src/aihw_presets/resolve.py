"""Compose presets: replace references to presets and slots by the tables they stand for."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import Any

from .errors import PresetError
from .library import Entry, Table


def find(index: Mapping[str, Entry], name: Any) -> Entry:
    """Look up a preset. Raises `PresetError` naming the nearest known names."""
    if isinstance(name, str) and name in index:
        return index[name]
    lower = {known.lower(): known for known in index}
    near = [lower[match] for match in difflib.get_close_matches(str(name).lower(), lower, n=3, cutoff=0.6)]
    advice = f"did you mean {' or '.join(near)}?" if near else "aihw_presets.names() lists the presets"
    raise PresetError(f"there is no preset named {name!r}: {advice}")


def merge(base: Any, change: Any) -> Any:
    """Return `base` with the entries of `change` laid over it, table by table; other values are replaced."""
    if not (isinstance(base, dict) and isinstance(change, dict)):
        return change
    return {**base, **{key: merge(base.get(key), value) for key, value in change.items()}}


class Resolution:
    """Resolve one preset; afterwards `used` holds the entries that took part, itself first."""

    def __init__(self, index: Mapping[str, Entry]) -> None:
        self.used: dict[str, Entry] = {}
        self._index = index
        self._open: list[str] = []

    def entry(self, entry: Entry, slots: Mapping[str, Any]) -> Table:
        """Return the table of a preset, its slots filled with the given names or tables instead of its own.

        Raises `PresetError` for a slot that the preset lacks, that stays empty or is given another kind of preset, an
        unknown or circular reference, and a table that says neither which class nor which preset it is.
        """
        if entry.name in self._open:
            raise PresetError(f"{entry.path}: circular reference {' -> '.join([*self._open, entry.name])}")
        self._open.append(entry.name)
        self.used[entry.name] = entry
        fields = merge(entry.doc["fields"], entry.member.get("fields", {}))
        own = {**entry.doc.get("slots", {}), **entry.member.get("slots", {})}
        for slot, value in slots.items():
            if slot not in (takes := _slots(fields)):
                raise PresetError(f"{entry.name} has no slot {slot!r}: it takes {', '.join(takes) or 'none'}")
            if not isinstance(value, dict):
                _require_kind(slot, find(self._index, value))
        table: Table = self._resolve(fields, {**own, **slots}, entry)
        self._open.pop()
        _require_class(table, entry)
        return table

    def _resolve(self, node: Any, slots: Mapping[str, Any], entry: Entry) -> Any:
        if isinstance(node, list):
            return [self._resolve(item, slots, entry) for item in node]
        if not isinstance(node, dict):
            return node
        own = {key: self._resolve(value, slots, entry) for key, value in node.items() if key != "preset"}
        if "preset" not in node:
            return own
        return merge(self._target(node["preset"], slots, entry), own)

    def _target(self, reference: Any, slots: Mapping[str, Any], entry: Entry) -> Any:
        if isinstance(reference, str) and reference.startswith("$"):
            if reference[1:] not in slots:
                slot = reference[1:]
                raise PresetError(f"{entry.name} needs a {slot}: use compose({entry.name!r}, {slot}=...)")
            reference = slots[reference[1:]]
        if isinstance(reference, dict):
            return self._resolve(reference, {}, entry)
        try:
            found = find(self._index, reference)
        except PresetError as error:
            raise PresetError(f"{entry.path}: {error}") from None
        return self.entry(found, {})


_SLOT_KINDS = {"device": ("device", "cell"), "io": ("io",), "update": ("update",)}


def _require_kind(slot: str, entry: Entry) -> None:
    """Raise `PresetError` for a preset that is something else than what the slot holds."""
    kinds = _SLOT_KINDS.get(slot, (entry.kind,))
    if entry.kind not in kinds:
        raise PresetError(
            f"{entry.name} is of kind {entry.kind!r} and does not go into the slot {slot!r}: use one of kind "
            f"{' or '.join(map(repr, kinds))}"
        )


def _slots(fields: Table) -> list[str]:
    """Return the names of the slots that a table refers to."""
    references = (str(table.get("preset")) for _, table in _tables(fields, ""))
    return sorted({reference[1:] for reference in references if reference.startswith("$")})


def _require_class(table: Table, entry: Entry) -> None:
    """Raise `PresetError` if a table that configures an object does not say of which class."""
    if entry.kind == "measurement":
        return
    tables = [("fields", table)] if entry.kind == "noise" else list(_tables(table, "fields"))
    for where, inner in tables:
        if not isinstance(inner.get("class"), str):
            raise PresetError(f"{entry.path}: {entry.name} leaves {where} without a class: add 'class' or 'preset'")


def _tables(node: Any, where: str) -> Iterator[tuple[str, Table]]:
    if isinstance(node, dict):
        yield where, node
        for key, value in node.items():
            yield from _tables(value, f"{where}.{key}")
    elif isinstance(node, list):
        for number, item in enumerate(node):
            yield from _tables(item, f"{where}[{number}]")
