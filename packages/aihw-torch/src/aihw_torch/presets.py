"""Every preset of `aihw_presets` as a class of its established name: `ReRamESPreset()`, `TikiTakaEcRamPreset()`, ...

A preset is a dataclass, derived from the configuration class that it configures, whose defaults are the values of the
data; `ReRamESPreset(mapping=...)` changes some. The classes are made when they are first named. Where the values come
from is in the docstring of each class, and in `aihw_presets.info(name)`.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from functools import cache
from typing import Any

import aihw_presets
from aihw_inference import BaseNoiseModel
from aihw_presets.errors import PresetError
from aihw_torch import config as _config  # noqa: F401  (lets from_dict know the classes of this package)
from rpu_sim.config import from_dict
from rpu_sim.config.base import ConfigBase, changed_fields, field_types

_KINDS = ("device", "cell", "io", "update", "parameters", "config")


@cache
def preset_class(name: str) -> Any:
    """Return the class of a preset.

    Raises:
        PresetError: there is no preset of this name (the message has the nearest ones), or it is a noise model, a
            measurement or an algorithm, which have no configuration class.
    """
    kind = aihw_presets.info(name)["kind"]
    if kind == "algorithm":
        whole = [known for known in aihw_presets.names("config") if known.startswith(name)]
        advice = f"take one with a device, such as {whole[0]}, or " if whole else ""
        raise PresetError(f"{name} is an algorithm without a device: {advice}use build_config(algorithm, device)")
    if kind not in _KINDS:
        raise PresetError(
            f"{name} is of the kind {kind!r} and has no configuration class: use aihw_presets.load({name!r})"
        )
    values: ConfigBase = from_dict(aihw_presets.load(name))
    base = type(values)
    declared = {f.name: f for f in dataclasses.fields(base)}
    fields = [
        (
            field,
            field_types(base)[field],
            dataclasses.field(
                default_factory=_copies(value), compare=declared[field].compare, metadata=declared[field].metadata
            ),
        )
        for field, value in changed_fields(values)
    ]
    made = dataclasses.make_dataclass(name, fields, bases=(base,), namespace={"__doc__": _docstring(name)})
    made.__module__ = __name__
    return made


def noise_model(name: str) -> BaseNoiseModel:
    """Return the noise model of a preset of the kind "noise", such as `pcm-ibm-2019` or `reram-cmo-2`.

    Raises:
        PresetError: there is no such preset, or it is of another kind.
    """
    kind = aihw_presets.info(name)["kind"]
    if kind != "noise":
        raise PresetError(f"{name} is of the kind {kind!r}, not a noise model: aihw_presets.names('noise') lists those")
    model: BaseNoiseModel = from_dict(aihw_presets.load(name))
    return model


def _copies(value: Any) -> Callable[[], Any]:
    return lambda: copy.deepcopy(value)


def _docstring(name: str) -> str:
    info = aihw_presets.info(name)
    sources = [f"{reference['cite']}{_doi(reference)}" for reference in info["references"]] or info["source"]
    return "\n\n".join([info["notes"].strip(), f"Status: {info['status']}. Source: {'; '.join(sources)}."])


def _doi(reference: dict[str, Any]) -> str:
    if "doi" not in reference:
        return ""
    return f", doi:{reference['doi']}{'' if reference.get('doi_verified') else ' (not verified)'}"


def __getattr__(name: str) -> Any:
    if name == "__all__":
        return [name for kind in _KINDS for name in aihw_presets.names(kind)]
    if name.startswith("_"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return preset_class(name)
    except PresetError as error:
        raise AttributeError(str(error)) from None


def __dir__() -> list[str]:
    return [*globals(), *__getattr__("__all__")]
