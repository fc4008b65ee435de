"""Say where presets come from, and check preset files."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

from .errors import PresetError
from .library import Entry, Table, entries, file_problems, files, merged, parse, search, shared
from .resolve import Resolution, find


def info(name: str, *, path: str | Path | None = None) -> Table:
    """Return where a preset comes from, as a plain dict.

    Keys: name, kind, class, status ('measured', 'fit', 'specification' of a device that was not measured, 'default'),
    source (keys of the publications of the preset and of all presets it uses, or 'toolkit default'), references (their
    citations), doi, doi_verified (False if one was derived and not seen in a public record), licence, units of the
    numeric fields, notes, constants (published numbers that are not fields), uses (the presets it is composed of) and
    file. An algorithm also has slots and members.

    Raises `PresetError` if the preset is unknown or broken.
    """
    known = search(path)
    return _describe(find(known, name), known)


def _resolved(entry: Entry, known: Mapping[str, Entry]) -> tuple[Table, list[Entry]]:
    """Return the table of a preset (the template of an algorithm) and the presets it is composed of, itself first."""
    if entry.kind == "algorithm":
        return entry.doc["fields"], [entry]
    resolution = Resolution(known)
    return resolution.entry(entry, {}), list(resolution.used.values())


def _describe(entry: Entry, known: Mapping[str, Entry]) -> Table:
    table, parts = _resolved(entry, known)
    references = _references(parts)
    with_doi = [reference for reference in references if "doi" in reference]
    description = {
        "name": entry.name,
        "kind": entry.kind,
        "class": table.get("class"),
        "status": entry.doc["status"],
        "source": list(dict.fromkeys(source for part in parts for source in part.doc["source"])),
        "references": references,
        "doi": [reference["doi"] for reference in with_doi],
        "doi_verified": all(reference.get("doi_verified", False) for reference in with_doi),
        "licence": " AND ".join(dict.fromkeys(part.doc["licence"] for part in parts)),
        "units": {key: unit for key, unit in _units(table, _known_units(parts)) if unit},
        "notes": "\n".join(filter(None, [entry.member.get("notes"), entry.doc["notes"]])),
        "constants": deepcopy(entry.doc.get("constants", {})),
        "uses": [part.name for part in parts if part is not entry],
        "file": str(entry.path),
    }
    if entry.kind == "algorithm":
        description |= {"slots": deepcopy(entry.doc.get("slots", {})), "members": list(entry.doc.get("members", {}))}
    return description


def _references(parts: Iterable[Entry]) -> list[Table]:
    """Return the citations of all sources, in order. Raises `PresetError` for a source that is not a reference."""
    found: dict[str, Table] = {}
    for part in parts:
        known = {**shared("references"), **part.doc.get("references", {})}
        for source in part.doc["source"]:
            if source in known:
                found[source] = {"key": source, **known[source]}
            elif re.match(r"10\.\d{4,9}/", source):
                found[source] = {"key": source, "cite": source, "doi": source}
            elif source != "toolkit default":
                raise PresetError(f"{part.path}: the source {source!r} is unknown: describe it under [references]")
    return list(found.values())


def _known_units(parts: Iterable[Entry]) -> Table:
    units = dict(shared("units"))
    for part in parts:
        units |= part.doc.get("units", {})
    return units


def _units(node: Any, known: Mapping[str, str], key: str = "") -> Iterator[tuple[str, str]]:
    """Yield every numeric field of a table with its unit, '' if it has none; a unit covers all that is inside."""
    if isinstance(node, dict):
        for inner, value in node.items():
            if inner in known:
                yield inner, known[inner]
            else:
                yield from _units(value, known, inner)
    elif isinstance(node, list):
        for value in node:
            yield from _units(value, known, key)
    elif isinstance(node, int | float) and not isinstance(node, bool):
        yield key, ""


def validate(path: str | Path) -> list[str]:
    """Check a preset file, or every one below a directory; return one sentence per problem, none if all are well.

    Checks the TOML, the schema, that names are unique, that references to presets and publications resolve, and that
    every numeric field has a unit (a misspelt field has none). Raises `PresetError` if there is nothing at `path`.
    """
    found: list[Entry] = []
    messages: list[str] = []
    for file in files(Path(path)):
        try:
            doc = parse(file)
        except PresetError as error:
            messages.append(str(error))
            continue
        wrong = file_problems(file, doc)
        messages += wrong
        found += [] if wrong else entries(file, doc)
    try:
        known = merged([*search().values(), *found])
    except PresetError as error:
        return [*messages, str(error)]
    return [*messages, *dict.fromkeys(message for entry in found for message in _entry_problems(entry, known))]


def _entry_problems(entry: Entry, known: Mapping[str, Entry]) -> Iterator[str]:
    try:
        table, parts = _resolved(entry, known)
        _references(parts)
    except PresetError as error:
        yield str(error)
        return
    for field, unit in _units(table, _known_units(parts)):
        if not unit:
            yield f"{entry.path}: the field {field!r} has no unit: correct its name, or give its unit under [units]"
