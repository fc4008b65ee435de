"""Tiles: the arrays of devices below a layer, as modules of torch."""

from __future__ import annotations

from aihw_torch.tiles.analog import AnalogTile, FloatingPointTile
from aihw_torch.tiles.array import TileModuleArray
from aihw_torch.tiles.mapping import default_tile_module_class

__all__ = ["AnalogTile", "FloatingPointTile", "TileModuleArray", "default_tile_module_class"]
