"""How a layer is mapped to tiles: which class of tile, whether it needs several, and where it is cut."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from aihw_torch.tiles.array import TileModuleArray
    from aihw_torch.tiles.base import TileModule

_TILE_CLASSES: dict[type, type[TileModule]] = {}


def register_tile_class(config_class: type, tile_class: type[TileModule]) -> None:
    """Let layers with a configuration of `config_class`, or of a class derived from it, use tiles of `tile_class`."""
    _TILE_CLASSES[config_class] = tile_class


def tile_class_of(rpu_config: Any) -> type[TileModule]:
    """Return the class of a single tile: the configuration's own `tile_class` if set, else the registered one."""
    if rpu_config.tile_class is not None:
        own: type[TileModule] = rpu_config.tile_class
        return own
    from aihw_torch.tiles.analog import AnalogTile

    return next((_TILE_CLASSES[base] for base in type(rpu_config).__mro__ if base in _TILE_CLASSES), AnalogTile)


def split_sizes(size: int, limit: int) -> list[int]:
    """Cut a size into the fewest parts of at most `limit`, as equal as possible, the larger ones first.

    A limit of 0 or less means no limit: 600 with the limit 512 is [300, 300], 5 with the limit 2 is [2, 2, 1].
    """
    parts = -(-size // limit) if limit > 0 else 1
    base, larger = divmod(size, parts)
    return [base + 1] * larger + [base] * (parts - larger)


def scales_of(weight: Tensor, mapping: Any, omega: float) -> Tensor:
    """Return the mapping scales that put the largest absolute weight at `omega`: [1], or [out] if columnwise.

    Args:
        weight: logical weights, [out, in].
        mapping: `MappingParameter`.
        omega: in units of the array, positive.
    """
    largest = weight.abs().amax(1) if mapping.weight_scaling_columnwise else weight.abs().max().view(1)
    return torch.where(largest > 0.0, largest / omega, torch.ones_like(largest))


def default_tile_module_class(rpu_config: Any, out_size: int, in_size: int) -> type[TileModule] | type[TileModuleArray]:
    """Return the class of module that maps a matrix: one tile, or a grid of them where the limits ask for it.

    The configuration's own `tile_class` and `tile_array_class` are taken where they are set.
    """
    from aihw_torch.tiles.array import TileModuleArray

    mapping = rpu_config.mapping
    mapping.check()
    if len(split_sizes(in_size, mapping.max_input_size)) * len(split_sizes(out_size, mapping.max_output_size)) > 1:
        return rpu_config.tile_array_class or TileModuleArray
    return tile_class_of(rpu_config)
