"""Containers of analog layers."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from aihw_torch.errors import StateError
from aihw_torch.nn.base import AnalogLayerBase


class AnalogContainerBase(AnalogLayerBase):
    """Base of containers: the weights of all tiles below, by the name of the tile."""

    IS_CONTAINER = True

    def get_weights(self) -> OrderedDict[str, tuple[Tensor, Tensor | None]]:
        """Return copies of the weights and biases of each tile, as `AnalogTile.get_weights` does."""
        return OrderedDict((name, tile.get_weights()) for name, tile in self.named_analog_tiles())

    def set_weights(self, weights: Mapping[str, tuple[Any, Any]]) -> None:
        """Set the weights and biases of each tile; all names of `get_weights` are needed."""
        tiles = dict(self.named_analog_tiles())
        if missing := tiles.keys() - weights.keys():
            raise StateError(
                f"there are no weights for the tiles {', '.join(sorted(missing))}; give those of every tile"
            )
        for name, tile in tiles.items():
            tile.set_weights(*weights[name])


class AnalogSequential(AnalogContainerBase, nn.Sequential):
    """`torch.nn.Sequential` with the methods of analog containers; the layers may be analog or digital."""
