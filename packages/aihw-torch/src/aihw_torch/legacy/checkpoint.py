"""What a checkpoint of aihwkit holds, and how it comes into a model."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from os import PathLike
from typing import Any

from torch import Tensor, nn

from aihw_torch.config import to_dict
from aihw_torch.errors import StateError
from aihw_torch.legacy.configs import converted
from aihw_torch.legacy.grids import LayerMatrix, differently_cut, is_below, named_as_in
from aihw_torch.legacy.reader import Record, read
from aihw_torch.legacy.tiles import ImportedTile, tile_state
from aihw_torch.nn.base import named_analog_tiles

_STATE = "analog_tile_state"
# Per tile: the weight in other forms, and what follows from it.
_REDUNDANT = ("analog_ctx", "shared_weights", "tile.weight", "tile._analog_weight")


@dataclass
class ImportedCheckpoint:
    """A checkpoint of aihwkit as plain data.

    Attributes:
        tiles: the tiles by name, such as `0.analog_module`.
        digital: all other tensors by name.
        remarks: what was not taken over from the file, one phrase each.
        version: of aihwkit.
    """

    tiles: dict[str, ImportedTile]
    digital: dict[str, Tensor]
    remarks: list[str] = field(default_factory=list)
    version: str = ""

    @property
    def rpu_configs(self) -> dict[str, Any]:
        """The configuration of each tile, by name of the tile: what to make the model with."""
        return {name: tile.config for name, tile in self.tiles.items()}

    def report(self) -> str:
        """What the checkpoint holds, as text."""
        lines = [f"a checkpoint of aihwkit {self.version}: {len(self.tiles)} tiles, {len(self.digital)} other tensors"]
        for name, tile in self.tiles.items():
            rows, columns = tile.weight.shape
            scales = ", ".join(own for own, values in tile.periphery.items() if values is not None)
            config = type(tile.config).__name__
            lines.append(f"  {name or '(root)'}: {rows} x {columns}, {config}{', ' if scales else ''}{scales}")
        return "\n".join([*lines, *(f"not taken over: {remark}" for remark in self.remarks)])

    def load_into(self, model: nn.Module, *, strict: bool = True) -> list[str]:
        """Write weights, biases, scales, input ranges and devices into a model of the same layers.

        The model keeps its configurations. Where its layers are cut into tiles in another way, they get the logical
        weights, and devices of their own.

        Args:
            model: made by the ported script, or with `rpu_configs`.
            strict: whether tensors without a place, and places without a tensor, are an error.

        Returns:
            What was not taken over, one phrase each.

        Raises:
            StateError: something does not fit; the model is as it was.
        """
        remarks = list(self.remarks)
        before = copy.deepcopy(model.state_dict())
        state = dict(before)
        tiles = dict(named_analog_tiles(model))
        given, digital = named_as_in(model, self.tiles, self.digital)
        layers = differently_cut(model, given, digital)
        inside = {name for matrix in layers.values() for name in matrix.tiles}
        for name, imported in given.items():
            if name in inside:
                continue
            if name not in tiles:
                raise StateError(
                    f"the model has no tile {name or '(root)'}; its tiles are {', '.join(tiles) or 'none'}"
                )
            state = tile_state(state, name, tiles[name], imported, remarks)
            if to_dict(imported.config) != to_dict(tiles[name].rpu_config):
                remarks.append(f"{name}: the configuration of the model is another one, and stays")
        biases = {matrix.bias_name for matrix in layers.values()}
        digital = {name: values for name, values in digital.items() if name not in biases}
        own = {name for name in before if not any(is_below(name, tile) for tile in tiles)}
        own -= {f"{layer}.analog_module.bias" for layer in layers}
        if strict and (odd := sorted(own ^ digital.keys())):
            raise StateError(f"the checkpoint and the model differ in {', '.join(odd)}; strict=False leaves these out")
        for name in own & digital.keys():
            if state[name].shape != digital[name].shape:
                shapes = tuple(state[name].shape), tuple(digital[name].shape)
                raise StateError(f"{name} has the shape {shapes[0]} in the model and {shapes[1]} in the checkpoint")
            state[name] = digital[name]
        self._write(model, state, layers, before)
        remarks += [f"{name}: cut into tiles in another way, so it got its logical weights only" for name in layers]
        return remarks

    def _write(
        self, model: nn.Module, state: dict[str, Any], layers: dict[str, LayerMatrix], before: dict[str, Any]
    ) -> None:
        from aihw_torch.tiles.state import replacing_configs

        try:
            with replacing_configs(False):
                model.load_state_dict(state)
            for name, matrix in layers.items():
                model.get_submodule(name).set_weights(matrix.weight, matrix.bias)  # type: ignore[operator]
        except (RuntimeError, ValueError, AttributeError) as error:
            with replacing_configs(False):
                model.load_state_dict(before)
            raise StateError(f"the checkpoint does not fit the model: {error}") from None


def import_checkpoint(path: str | PathLike[str]) -> ImportedCheckpoint:
    """Read a checkpoint of aihwkit 0.9.2 or later, a file with a `state_dict()`, without executing anything in it.

    A dict that holds the state beside other things, such as that of an optimizer, works as well.

    Args:
        path: of the file.

    Raises:
        StateError: the file is no such state, or names something that would have to be executed.
    """
    state = _state_in(read(path), path)
    found: dict[str, ImportedTile] = {}
    remarks: list[str] = []
    version = ""
    for key, values in state.items():
        if key == _STATE or key.endswith(f".{_STATE}"):
            name = key[: -len(_STATE)].rstrip(".")
            about: list[str] = []
            found[name] = _tile(values, about, path)
            remarks += [f"{name}: {remark}" for remark in about]
            version = str(values.get("aihwkit_version", version))
    digital = _periphery_into(found, state, remarks)
    remarks.append("constants of converters, counters, learning rates and random generators; drifted states")
    return ImportedCheckpoint(found, digital, remarks, version)


def _state_in(content: Any, path: str | PathLike[str]) -> dict[str, Any]:
    """Return the part of a file that is the state of a model."""

    def is_state(value: Any) -> bool:
        return isinstance(value, Mapping) and any(str(key).endswith(_STATE) for key in value)

    if is_state(content):
        return dict(content)
    inner = [value for value in content.values() if is_state(value)] if isinstance(content, Mapping) else []
    if len(inner) == 1:
        return dict(inner[0])
    if isinstance(content, Mapping) and any(f"{_STATE}_" in str(key) for key in content):
        raise StateError(f"{path} is of aihwkit before 0.9.2; load it with a newer aihwkit and save it again")
    raise StateError(f"{path} holds no state of a model of aihwkit; save model.state_dict()")


def _tile(values: Any, remarks: list[str], path: str | PathLike[str]) -> ImportedTile:
    """Return the tile of an entry `analog_tile_state`."""
    weight = values.get("analog_tile_weights") if isinstance(values, Mapping) else None
    record = values.get("rpu_config") if isinstance(values, Mapping) else None
    if not (isinstance(weight, Tensor) and weight.ndim == 2 and isinstance(record, Record)):
        raise StateError(f"{path} is damaged: a tile has no weights or no configuration")
    hidden_names = values.get("analog_tile_hidden_parameter_names") or []
    stacked = values.get("analog_tile_hidden_parameters")
    if hidden_names and not (isinstance(stacked, Tensor) and stacked.shape == (len(hidden_names), *weight.shape)):
        raise StateError(f"{path} is damaged: the hidden parameters do not fit the weights")
    hidden = {str(name): stacked[i].float().clone() for i, name in enumerate(hidden_names)}
    periphery = {name: values[name] for name in ("out_scaling_alpha", "mapping_scales") if _is_tensor(values, name)}
    config = converted(record, remarks)
    return ImportedTile(str(values.get("analog_tile_class", "")), weight.float().clone(), hidden, config, periphery)


def _is_tensor(values: Mapping[str, Any], name: str) -> bool:
    return isinstance(values.get(name), Tensor)


def _periphery_into(tiles: dict[str, ImportedTile], state: Mapping[str, Any], remarks: list[str]) -> dict[str, Tensor]:
    """Give the tiles what the state has below their names; return the rest."""
    rest: dict[str, Tensor] = {}
    for key, values in state.items():
        name = next((tile for tile in tiles if is_below(key, tile)), None)
        own = key if name is None else key[len(name) :].lstrip(".")
        if own == _STATE:
            continue
        if not isinstance(values, Tensor):
            remarks.append(f"{key}, which is no tensor")
        elif name is None:
            rest[key] = values
        elif own in ("bias", "out_scaling_alpha", "mapping_scales", "input_range", "input_range_update_idx"):
            tiles[name].periphery[own] = values.detach().clone()
        elif own == "alpha":
            if not bool((values == 1.0).all()):
                remarks.append(f"{key}, the compensation of a drift: drift the programmed model again")
        elif own not in _REDUNDANT:
            remarks.append(key)
    return rest
