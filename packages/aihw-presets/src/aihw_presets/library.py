"""Find and read preset files: the shipped ones, those of installed plugins, and those of registered paths."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from .errors import PresetError
from .schema import problems

Table = dict[str, Any]

_PACKAGE = Path(__file__).parent

ENTRY_POINT_GROUP = "aihw_presets"
"""Group of entry points that name directories of presets: each loads a `str` or `Path`, or a function returning one."""

_registered: list[Path] = []


@dataclass(frozen=True)
class Entry:
    """One named preset: a file, or one member of the algorithm that a file describes."""

    name: str
    kind: str
    path: Path
    doc: Table
    member: Table = field(default_factory=dict)


def parse(path: Path) -> Table:
    """Read one TOML file. Raises `PresetError` with the file, and the line of what is wrong, if it cannot be read."""
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except tomllib.TOMLDecodeError as error:
        raise PresetError(f"{path} is not valid TOML: {error}") from error
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise PresetError(f"{path} is not valid TOML: no UTF-8 (at line {line}), save it as UTF-8") from error
    except OSError as error:
        raise PresetError(f"cannot read the presets at {path}: {error.strerror}") from error


def file_problems(path: Path, doc: Table) -> list[str]:
    """Return one sentence for each way in which a parsed file breaks the format."""
    found = list(problems(doc))
    if not found and doc["kind"] != "algorithm" and ("slots" in doc or "members" in doc):
        found = [f"slots and members belong to kind 'algorithm', not to {doc['kind']!r}"]
    return [f"{path}: {problem}" for problem in found]


def entries(path: Path, doc: Table) -> list[Entry]:
    """Return the presets that a parsed file defines. Raises `PresetError` with the first thing wrong with it."""
    for problem in file_problems(path, doc):
        raise PresetError(problem)
    members = [Entry(name, "config", path, doc, member) for name, member in doc.get("members", {}).items()]
    return [Entry(path.stem, doc["kind"], path, doc), *members]


def files(path: Path) -> list[Path]:
    """List the preset files at a path: the file itself, or every `*.toml` below a directory."""
    if path.is_dir():
        return sorted(file.resolve() for file in path.rglob("*.toml"))
    if path.is_file():
        return [path.resolve()]
    raise PresetError(f"there is no file or directory of presets at {path}")


@cache
def _shipped() -> tuple[Entry, ...]:
    return tuple(entry for file in files(_PACKAGE / "data") for entry in entries(file, parse(file)))


@cache
def _plugin_paths() -> tuple[Path, ...]:
    paths = []
    for point in entry_points(group=ENTRY_POINT_GROUP):
        try:
            found = point.load()
            paths.append(Path(found() if callable(found) else found))
        except Exception as error:  # whatever a foreign package raises, say which package it was
            package = point.dist.name if point.dist else point.value
            raise PresetError(f"the preset plugin {point.name!r} of {package} is broken ({error!r}): fix it") from error
    return tuple(paths)


def merged(found: Iterable[Entry]) -> dict[str, Entry]:
    """Index presets by name. Raises `PresetError` if two files define the same name."""
    index: dict[str, Entry] = {}
    for entry in found:
        if entry != index.get(entry.name, entry):
            raise PresetError(
                f"the preset {entry.name} is defined in {index[entry.name].path} and in {entry.path}: rename one"
            )
        index[entry.name] = entry
    return index


def search(path: str | Path | None = None) -> dict[str, Entry]:
    """Index everything on the search path: shipped presets, plugins, registered paths, and `path`."""
    extra = [] if path is None else [Path(path)]
    found = list(_shipped())
    fresh = dict.fromkeys(file for path in (*_plugin_paths(), *_registered, *extra) for file in files(path))
    found += [entry for file in fresh for entry in entries(file, parse(file))]
    return merged(found)


def register_path(path: str | Path) -> None:
    """Add a preset file or a directory of them to the search path of this process.

    Its files are read again at every call, so edits take effect at once. Raises `PresetError`, and leaves the search
    path as it was, if a file is broken or redefines a preset that exists.
    """
    path = Path(path).absolute()
    search(path)
    if path not in _registered:
        _registered.append(path)


@cache
def shared(name: str) -> Table:
    """Read a table that all presets share: 'units' or 'references'."""
    return parse(_PACKAGE / "shared" / f"{name}.toml")
