"""Compare presets by their values."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from .api import load


def diff(a: str | Mapping[str, Any], b: str | Mapping[str, Any], *, path: str | Path | None = None) -> dict[str, Any]:
    """Return how two presets differ: dotted field -> (value in `a`, value in `b`).

    `a` and `b` are names, or dicts of the form that `load` returns. None stands for the default of the class, or for a
    table that the other lacks. `path` is as for `load`. Raises `PresetError` if a preset is unknown or broken.
    """
    values = [dict(_flat(load(preset, path=path) if isinstance(preset, str) else preset)) for preset in (a, b)]
    keys = dict.fromkeys(key for table in values for key in table)
    pairs = {key: (values[0].get(key), values[1].get(key)) for key in keys}
    return {key: pair for key, pair in pairs.items() if pair[0] != pair[1]}


def digest(preset: str | Mapping[str, Any], *, path: str | Path | None = None) -> str:
    """Return the SHA-256 of the values of a preset, in hexadecimal; notes and sources have no influence.

    Arguments and errors as for `diff`.
    """
    table = load(preset, path=path) if isinstance(preset, str) else preset
    return hashlib.sha256(json.dumps(table, sort_keys=True, allow_nan=False).encode()).hexdigest()


def _flat(node: Any, at: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(node, Mapping):
        for key, value in node.items():
            yield from _flat(value, f"{at}.{key}" if at else key)
    elif isinstance(node, list) and any(isinstance(item, Mapping) for item in node):
        for number, item in enumerate(node):
            yield from _flat(item, f"{at}[{number}]")
    else:
        yield at, node
