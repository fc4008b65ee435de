"""Tiles: the arrays below a layer, as modules of torch."""

from __future__ import annotations

from aihw_torch.tiles.analog import AnalogTile, FloatingPointTile
from aihw_torch.tiles.array import TileModuleArray
from aihw_torch.tiles.base import TileModule
from aihw_torch.tiles.groups import TileGroups
from aihw_torch.tiles.mapping import default_tile_module_class, register_tile_class
from aihw_torch.tiles.shared import SharedPeripheryArray
from aihw_torch.tiles.weight import WeightTile

__all__ = [
    "AnalogTile",
    "FloatingPointTile",
    "SharedPeripheryArray",
    "TileGroups",
    "TileModule",
    "TileModuleArray",
    "WeightTile",
    "default_tile_module_class",
    "register_tile_class",
]
