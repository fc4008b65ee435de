"""Presets of one's own: a configuration as a file that `aihw_presets` finds and loads."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

from aihw_torch.config import DigitalRankUpdateCell, IOParameters, PulsedDevice, UnitCell, UpdateParameters, to_dict
from aihw_torch.errors import ConfigError
from rpu_sim.config import ConfigBase, RPUConfigBase

_KINDS: dict[type, str] = {
    PulsedDevice: "device",
    UnitCell: "cell",
    DigitalRankUpdateCell: "cell",
    IOParameters: "io",
    UpdateParameters: "update",
    RPUConfigBase: "config",
}


_STATUS = ("measured", "fit", "specification", "default")


def save_preset(
    config: ConfigBase, path: str | Path, *, source: str, licence: str, notes: str = "", status: str = "fit"
) -> Path:
    """Write a configuration as a preset, named like the file, for `aihw_presets.register_path` and `load`.

    Args:
        config: a device, a unit cell, parameters or a whole configuration.
        path: of the file; `.toml` is added where it lacks. An existing file is replaced.
        source: where the numbers come from, a DOI or a few words.
        licence: under which the numbers may be used.
        notes: more to say.
        status: `measured`, `fit`, `specification` or `default`.

    Returns:
        The path of the file.

    Raises:
        ConfigError: the configuration is not a valid one, the name is none for a preset, or `source`, `licence` or
            `status` is not what a preset needs.
    """
    path = Path(path) if Path(path).suffix == ".toml" else Path(path).with_name(f"{Path(path).name}.toml")
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9._-]*", path.stem):
        raise ConfigError(f"{path.stem!r} is no name of a preset; begin with a letter and use letters, digits, . _ -")
    for name, text in (("source", source), ("licence", licence)):
        if not isinstance(text, str) or not text.strip():
            raise ConfigError(f"a preset says where its numbers are from and how they may be used; {name} is {text!r}")
    if status not in _STATUS:
        raise ConfigError(f"the status of a preset is one of {', '.join(_STATUS)}, not {status!r}")
    config.check()
    kind = next((kind for cls, kind in _KINDS.items() if isinstance(config, cls)), "parameters")
    is_doi = re.match(r"10\.[0-9]{4,9}/", source) is not None
    head = {"schema": 1, "kind": kind, "status": status, "source": [source if is_doi else "own"], "licence": licence}
    lines = [f"{name} = {_text(value)}" for name, value in {**head, "notes": notes or "No notes."}.items()]
    lines += ["", *_table("fields", to_dict(config))]
    lines += [] if is_doi else ["", *_table("references.own", {"cite": source})]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def _table(name: str, values: dict[str, Any]) -> list[str]:
    """Return the lines of a table; those of nested tables follow."""
    lines = [f"[{name}]"]
    lines += [f"{key} = {_text(value)}" for key, value in values.items() if not isinstance(value, dict)]
    for key, value in values.items():
        if isinstance(value, dict):
            lines += ["", *_table(f"{name}.{key}", value)]
    return lines


def _text(value: Any) -> str:
    """Return a value as TOML writes it."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_text(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_text, value)) + "]"
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigError("a preset cannot hold numbers that are not finite; give a large one")
    # Texts, integers, finite numbers and truth values have the same form in JSON.
    return json.dumps(value, ensure_ascii=False)
