"""Layers whose tiles in a checkpoint of aihwkit are not those of the model."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from aihw_torch.errors import StateError
from aihw_torch.legacy.tiles import ImportedTile
from aihw_torch.nn.base import AnalogLayerBase, named_analog_tiles
from aihw_torch.tiles import TileModule

Tiles = dict[str, ImportedTile]


@dataclass(frozen=True)
class LayerMatrix:
    """The logical weights of a layer.

    Attributes:
        weight: [out, in].
        bias: [out] or None.
        tiles: names of the tiles that it was put together from.
        bias_name: name of the digital bias in the checkpoint, or nothing.
    """

    weight: Tensor
    bias: Tensor | None
    tiles: tuple[str, ...]
    bias_name: str = ""


def is_below(key: str, name: str) -> bool:
    """Whether something is part of the module of that name."""
    return not name or key.startswith(f"{name}.")


def _layers(model: nn.Module, tiles: Tiles) -> Iterator[tuple[str, dict[str, TileModule], Tiles]]:
    """Yield the name of each analog layer, its tiles in the model and those in the checkpoint."""
    for name, layer in model.named_modules():
        if isinstance(layer, AnalogLayerBase) and not layer.IS_CONTAINER and hasattr(layer, "set_weights"):
            own = {f"{name}.{tile}" if name else tile: found for tile, found in named_analog_tiles(layer)}
            given = {tile: imported for tile, imported in tiles.items() if is_below(tile, name)}
            if given:
                yield name, own, given


def named_as_in(model: nn.Module, tiles: Tiles, digital: Mapping[str, Tensor]) -> tuple[Tiles, dict[str, Tensor]]:
    """Give the only tile of a layer the name that it has in the model; there may be a grid of one around it.

    Returns:
        Tiles and digital tensors with their new names.
    """
    tiles, digital = dict(tiles), dict(digital)
    for layer, own, given in _layers(model, tiles):
        if len(own) != 1 or len(given) != 1:
            continue
        ((name, _),), ((old, imported),) = own.items(), given.items()
        if name == old:
            continue
        periphery = dict(imported.periphery)
        bias = next((digital.pop(key) for key in _bias_names(layer) if key in digital), periphery.pop("bias", None))
        if bias is not None and ".array." in f".{name}":
            digital[_bias_names(layer)[0]] = bias
        elif bias is not None:
            periphery["bias"] = bias
        del tiles[old]
        tiles[name] = dataclasses.replace(imported, periphery=periphery)
    return tiles, digital


def differently_cut(model: nn.Module, tiles: Tiles, digital: Mapping[str, Tensor]) -> dict[str, LayerMatrix]:
    """Return the matrices of the layers whose tiles in the checkpoint are not those of the model."""
    found = {}
    for layer, own, given in _layers(model, tiles):
        there = {name: imported.weight.shape for name, imported in given.items()}
        here = {name: torch.Size((t.out_size, t.in_size + t.analog_bias)) for name, t in own.items()}
        if there != here:
            found[layer] = matrix_of(layer, given, digital)
    return found


def _bias_names(layer: str) -> tuple[str, str]:
    """Return where the digital bias of a grid is: below the module, or below a layer of a mapped convolution."""
    return (f"{layer}.analog_module.bias", f"{layer}.bias") if layer else ("analog_module.bias", "bias")


def matrix_of(layer: str, tiles: Mapping[str, ImportedTile], digital: Mapping[str, Tensor]) -> LayerMatrix:
    """Put the tiles of a layer together: one, or a grid `array.<inputs>.<outputs>`; of mapped convolutions too.

    Raises:
        StateError: there are others.
    """
    prefix = f"{layer}." if layer else ""
    places: dict[tuple[int, int], Tensor] = {}
    bias: Tensor | None = None
    for name, tile in tiles.items():
        place = re.fullmatch(r"(?:analog_module\.)?array\.(\d+)\.(\d+)", name[len(prefix) :])
        if place is None and name != f"{prefix}analog_module":
            raise StateError(f"the tile {name} of the checkpoint is in no layer of the model")
        key = (int(place[1]), int(place[2])) if place else (0, 0)
        places[key], bias = tile.logical()
    columns = sorted({i for i, _ in places})
    rows = sorted({j for _, j in places})
    if len(places) != len(columns) * len(rows):
        raise StateError(f"the grid of tiles of {layer or 'the model'} in the checkpoint has gaps")
    weight = torch.cat([torch.cat([places[i, j] for j in rows]) for i in columns], dim=1)
    bias_name = next((name for name in _bias_names(layer) if name in digital), "")
    return LayerMatrix(weight, digital[bias_name] if bias_name else bias, tuple(tiles), bias_name)
