"""The matrix of a layer behind its tiles in a checkpoint of aihwkit."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from aihw_torch.errors import StateError
from aihw_torch.legacy.tiles import ImportedTile


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


def matrices(layer: str, tiles: Mapping[str, ImportedTile], digital: Mapping[str, Tensor]) -> LayerMatrix:
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
    names = (f"{prefix}analog_module.bias", f"{prefix}bias")
    bias_name = next((name for name in names if name in digital), "")
    return LayerMatrix(weight, digital[bias_name] if bias_name else bias, tuple(tiles), bias_name)
