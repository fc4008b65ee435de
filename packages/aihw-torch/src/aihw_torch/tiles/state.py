"""The state of a tile inside the state of a model: plain tensors, loaded in place."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor

import rpu_sim
from aihw_torch.errors import RpuError
from rpu_sim.state import decode_meta

SOFTWARE_FORMAT = "aihw_torch.tile"

_replace_configs: ContextVar[bool | None] = ContextVar("replace_configs", default=None)


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


def load(
    tile: rpu_sim.Tile,
    state: Mapping[str, Tensor],
    where: str,
    missing: list[str],
    unexpected: list[str],
    errors: list[str],
) -> rpu_sim.Tile:
    """Load a state as far as it fits; return the tile, another one if the state brought its configuration.

    Args:
        tile: the tile, changed in place.
        state: what `Tile.state_dict` returned.
        where: name of the tile in the model, for messages.
        missing, unexpected, errors: get the names and sentences that torch reports; with a missing name or an error
            the tile is unchanged.
    """
    if is_software_state(state.get("meta")):
        errors.append(
            f"the state of {where} is that of a tile whose weight is trained in software, and this one is trained by "
            "pulses; make the layer with the configuration it was saved with, or copy the weight with set_weights()"
        )
        return tile
    own = tile.state_dict()
    other_config = "meta" in state and not torch.equal(state["meta"].cpu(), own["meta"])
    try:
        if other_config and replaces_configs():
            return _with_stored_config(tile, state)
        if other_config and type(_stored_config(state).device) is not type(tile.rpu_config.device):
            errors.append(
                f"the state of {where} is that of another device; load it with load_rpu_config=True, or make the "
                "layer with the configuration it was saved with"
            )
            return tile
        unexpected += [name for name in state if name not in own]
        if absent := [name for name in own if name not in state]:
            missing += absent
            return tile
        tile.load_state({name: state[name] for name in own})
    except RpuError as error:
        errors.append(f"the state of {where} does not fit: {error}")
        return tile
    if other_config:
        warn_of_other_config(where)
    return tile


def is_software_state(meta: Any) -> bool:
    """Whether the encoded configuration of a state is that of a tile whose weight is trained in software."""
    try:
        return bool(json.loads(bytes(meta.tolist()))["format"] == SOFTWARE_FORMAT)
    except (ValueError, KeyError, TypeError, AttributeError):
        return False


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
