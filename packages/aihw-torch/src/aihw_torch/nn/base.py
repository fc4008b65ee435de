"""What all analog layers and containers can do with the tiles below them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Self

from torch import nn

from aihw_torch.tiles import AnalogTile
from aihw_torch.tiles.state import replacing_configs


class AnalogLayerBase(nn.Module):
    """Base of analog layers; the methods walk the modules in the order of `named_modules`, each module once."""

    IS_CONTAINER = False

    def named_analog_modules(self) -> Iterator[tuple[str, AnalogLayerBase]]:
        """Yield (name, module) of the analog layers and containers, this one included."""
        for name, module in self.named_modules():
            if isinstance(module, AnalogLayerBase):
                yield name, module

    def analog_modules(self) -> Iterator[AnalogLayerBase]:
        """Yield the analog layers and containers, this one included."""
        return (module for _, module in self.named_analog_modules())

    def named_analog_layers(self) -> Iterator[tuple[str, AnalogLayerBase]]:
        """Yield (name, layer) of the analog layers."""
        return ((name, module) for name, module in self.named_analog_modules() if not module.IS_CONTAINER)

    def analog_layers(self) -> Iterator[AnalogLayerBase]:
        """Yield the analog layers."""
        return (layer for _, layer in self.named_analog_layers())

    def named_analog_tiles(self) -> Iterator[tuple[str, AnalogTile]]:
        """Yield (name, tile) of the tiles, such as `0.analog_module` or `0.analog_module.array.1.0`."""
        for name, module in self.named_modules():
            if isinstance(module, AnalogTile):
                yield name, module

    def analog_tiles(self) -> Iterator[AnalogTile]:
        """Yield the tiles."""
        return (tile for _, tile in self.named_analog_tiles())

    def analog_tile_count(self) -> int:
        """Return the number of tiles."""
        return sum(1 for _ in self.analog_tiles())

    def apply_to_analog_tiles(self, fn: Callable[[AnalogTile], Any]) -> Self:
        """Call fn with every tile; return this module."""
        for tile in self.analog_tiles():
            fn(tile)
        return self

    def apply_to_analog_layers(self, fn: Callable[[AnalogLayerBase], Any]) -> Self:
        """Call fn with every analog layer; return this module."""
        for layer in self.analog_layers():
            fn(layer)
        return self

    def load_state_dict(
        self,
        state_dict: Mapping[str, Any],
        strict: bool = True,
        assign: bool = False,
        *,
        load_rpu_config: bool | None = None,
    ) -> Any:
        """Load a state in place, as torch does: parameters keep their identity, so optimizers keep working.

        Args:
            state_dict: what `state_dict()` returned.
            strict: whether missing and unexpected keys are an error.
            assign: for the digital parameters, as in torch; the state of a tile is always copied.
            load_rpu_config: take the configurations of the tiles from the state as well. By default, as with False,
                each tile keeps its own, with a warning where the two differ.
        """
        with replacing_configs(bool(load_rpu_config)):
            return super().load_state_dict(state_dict, strict=strict, assign=assign)
