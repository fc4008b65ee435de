"""The state of a tile inside the state of a model: plain tensors, loaded in place."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

import rpu_sim
import rpu_sim.state
from aihw_torch.config import from_dict, to_dict
from aihw_torch.errors import RpuError, StateError
from rpu_sim.state import decode_meta

SOFTWARE_FORMAT = "aihw_torch.tile"
ARRAY_FORMAT = rpu_sim.state.FORMAT

_replace_configs: ContextVar[bool | None] = ContextVar("replace_configs", default=None)
_waiting: ContextVar[list[Callable[[], None]] | None] = ContextVar("waiting", default=None)


@contextmanager
def replacing_configs(replace: bool | None) -> Iterator[None]:
    """Let the states that are loaded inside of the block bring their configurations, or not.

    None is the choice of a block around this one; without one they do not, and a difference warns.
    """
    token = _replace_configs.set(_replace_configs.get() if replace is None else replace)
    try:
        yield
    finally:
        _replace_configs.reset(token)


def replaces_configs() -> bool:
    """Whether the states that are loaded now bring their configurations."""
    return bool(_replace_configs.get())


@dataclass
class Findings:
    """What the state of one tile lacks, has beside what the tile takes, and what is wrong with it.

    Attributes:
        where: name of the tile in the model, for messages.
        missing, unexpected: names, without that of the tile.
        errors: sentences; with one of them nothing of the state may be written.
    """

    where: str
    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def check_tensors(self, given: Mapping[str, Any]) -> None:
        """Note what is no tensor."""
        self.errors += [
            f"{name} of {self.where} is damaged: it is no tensor but {type(values).__name__}; save it again"
            for name, values in given.items()
            if not isinstance(values, Tensor)
        ]

    def check_shape(self, name: str, values: Tensor, shape: tuple[int, ...]) -> None:
        """Note a tensor of another shape."""
        if tuple(values.shape) != shape:
            self.errors.append(f"the {name} of {self.where} has the shape {tuple(values.shape)} instead of {shape}")

    def check_integer(self, name: str, values: Tensor | None) -> None:
        """Note a tensor that is not one int64."""
        if values is not None and (values.dtype is not torch.int64 or values.numel() != 1):
            self.errors.append(f"{name} of {self.where} is damaged: it must be one int64; save it again")


@contextmanager
def all_or_nothing(model: nn.Module) -> Iterator[None]:
    """Let a state that is loaded inside of the block change the model as a whole, or not at all.

    Tiles check what they are given, and write it at the end of the block. Digital modules write at once, as torch does,
    and get their values back if the block raises.
    """
    if _waiting.get() is not None:  # a block around this one
        yield
        return
    digital = [module for module in model.modules() if not hasattr(module, "forward_step")]
    owners: list[dict[str, Any]] = [own for module in digital for own in (module._parameters, module._buffers)]
    owned = [(own, own.copy()) for own in owners]
    values = {id(t): (t, t.detach().clone()) for _, own in owned for t in own.values() if t is not None}
    writes = list[Callable[[], None]]()
    token = _waiting.set(writes)
    try:
        yield
    except BaseException:
        with torch.no_grad():
            for tensor, old in values.values():
                tensor.copy_(old)
        for now, before in owned:
            now.update(before)
        raise
    finally:
        _waiting.reset(token)
    for write in writes:
        write()


def write_when_all_is_sound(write: Callable[[], None]) -> None:
    """Write what was checked: at the end of `all_or_nothing`, at once without one."""
    waiting = _waiting.get()
    if waiting is None:
        write()
    else:
        waiting.append(write)


def prepare(tile: rpu_sim.Tile, given: Mapping[str, Tensor], found: Findings) -> Callable[[], rpu_sim.Tile] | None:
    """Check the state of an array; return the function that loads it, None if it cannot be loaded.

    Args:
        tile: the array. The function changes it in place, or returns another one if the state brings its configuration.
        given: what `Tile.state_dict` returned.
        found: gets what is wrong with it.
    """
    if "meta" in given and (kind := format_of(given["meta"])) != ARRAY_FORMAT:
        found.errors.append(_other_kind(kind, found.where))
        return None
    own = tile.state_dict()
    other_config = "meta" in given and not torch.equal(given["meta"].cpu(), own["meta"])
    try:
        if other_config and replaces_configs():
            loaded = _with_stored_config(tile, given)
            return lambda: loaded
        if other_config and type(_stored_config(given).device) is not type(tile.rpu_config.device):
            found.errors.append(
                f"the state of {found.where} is that of another device; load it with load_rpu_config=True, or make the "
                "layer with the configuration it was saved with"
            )
            return None
        found.unexpected += [name for name in given if name not in own]
        if absent := [name for name in own if name not in given]:
            found.missing += absent
            return None
        wanted = {name: given[name] for name in own}
        tile.check_state(wanted)
    except RpuError as error:
        found.errors.append(f"the state of {found.where} does not fit: {error}")
        return None

    def load() -> rpu_sim.Tile:
        tile.load_state(wanted)
        if other_config:
            warn_of_other_config(found.where)
        return tile

    return load


def format_of(meta: Tensor) -> str | None:
    """Return the format that the encoded configuration of a state names, None if it is damaged."""
    try:
        return str(json.loads(bytes(meta.tolist()))["format"])
    except (ValueError, KeyError, TypeError, OverflowError):
        return None


def encode_config(rpu_config: Any) -> Tensor:
    """Return a configuration as JSON bytes (uint8)."""
    text = json.dumps({"format": SOFTWARE_FORMAT, "version": 1, "config": to_dict(rpu_config)}, sort_keys=True)
    return torch.frombuffer(bytearray(text.encode()), dtype=torch.uint8)


def decode_config(meta: Tensor) -> Any:
    """Return the configuration of JSON bytes."""
    try:
        stored = json.loads(bytes(meta.tolist()))
        if stored["format"] != SOFTWARE_FORMAT or stored["version"] != 1:
            raise ValueError
    except (ValueError, KeyError, TypeError):
        raise StateError("this is not the state of an analog tile, or it is of a newer version") from None
    return from_dict(stored["config"])


def _other_kind(kind: str | None, where: str) -> str:
    """What to say of a state for a tile of devices whose format is not that of one."""
    if kind != SOFTWARE_FORMAT:
        return damaged_meta(where)
    return (
        f"the state of {where} is that of a tile whose weight is trained in software, and this one is trained by "
        "pulses; make the layer with the configuration it was saved with, or copy the weight with set_weights()"
    )


def damaged_meta(where: str) -> str:
    """What to say of an encoded configuration that is none."""
    return f"the configuration (meta) in the state of {where} is damaged, or of a newer version; save it again"


def warn_of_other_config(where: str) -> None:
    """Say that a tile keeps its own configuration, unless that was asked for."""
    if _replace_configs.get() is not None:
        return
    warnings.warn(
        f"{where} keeps its configuration, which is not the one its state was saved with; pass "
        "load_rpu_config=True to load_state_dict() of the model to take the saved one, or False to silence this",
        stacklevel=3,
    )


def _with_stored_config(tile: rpu_sim.Tile, state: Mapping[str, Tensor]) -> rpu_sim.Tile:
    loaded = rpu_sim.Tile.from_state(dict(state), like=tile.weights)
    if (loaded.out_size, loaded.in_size) != (tile.out_size, tile.in_size):
        raise rpu_sim.errors.ShapeError(
            f"it has {loaded.out_size} x {loaded.in_size} cells and the tile {tile.out_size} x {tile.in_size}"
        )
    return loaded


def _stored_config(state: Mapping[str, Tensor]) -> Any:
    return decode_meta({"meta": state["meta"].cpu().numpy()})
