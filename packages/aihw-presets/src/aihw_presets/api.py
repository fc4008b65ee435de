"""The functions users call to list, load and compose presets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .errors import PresetError
from .library import Table, search
from .resolve import Resolution, find
from .schema import KINDS


def names(kind: str | None = None, *, path: str | Path | None = None) -> list[str]:
    """Return the sorted names of the presets of one kind, or (None) of all that configure something.

    The latter leaves out 'measurement', which no class takes, and 'algorithm', which `compose` completes. `path` adds a
    preset file or directory to the search path for this call. Raises `PresetError` for an unknown kind.
    """
    if kind is not None and kind not in KINDS:
        raise PresetError(f"there is no kind of preset named {kind!r}: use one of {', '.join(KINDS)}")
    found = search(path).values()
    wanted = set(KINDS) - {"algorithm", "measurement"} if kind is None else {kind}
    return sorted(entry.name for entry in found if entry.kind in wanted)


def load(name: str, *, path: str | Path | None = None) -> Table:
    """Return a preset as a plain dict `{"class": ..., field: value}`, ready for `rpu_sim.config.from_dict`.

    Only values that differ from the defaults of the class are present; enumerations are given by name, nested objects
    as dicts of the same form. Presets of kind 'measurement' are published numbers that no class takes and have no
    "class". The dict is a fresh copy. `path` adds a preset file or directory to the search path for this call.

    Raises `PresetError` if the preset is unknown or broken, or is an algorithm that lacks its device.
    """
    return compose(name, path=path)


def compose(name: str, *, path: str | Path | None = None, **slots: Any) -> Table:
    """Return a preset whose slots (device, io, update) are filled as given.

    A slot takes the name of a preset or a dict of the form that `load` returns; one that is not given keeps what the
    preset has. `compose("TTv2", device="ReRamArrayOMPresetDevice")` uses the class defaults of the algorithm,
    `compose("TTv2EcRamPreset", device="ReRamArrayOMPresetDevice")` the settings tuned for that configuration.

    Raises `PresetError` for an unknown name or slot, and for a slot that stays empty.
    """
    known = search(path)
    return Resolution(known).entry(find(known, name), slots)
