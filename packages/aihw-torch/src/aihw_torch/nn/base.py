"""What all analog layers and containers can do with the tiles below them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Self

import torch.distributed as dist
from torch import nn

from aihw_torch.distributed import same_on_all_processes
from aihw_torch.errors import StateError
from aihw_torch.tiles import SharedPeripheryArray, TileModule
from aihw_torch.tiles.state import all_or_nothing, replacing_configs


def named_analog_tiles(model: nn.Module) -> Iterator[tuple[str, TileModule]]:
    """Yield (name, tile) of all tiles of a model, each once."""
    return ((name, module) for name, module in model.named_modules() if isinstance(module, TileModule))


def analog_tiles(model: nn.Module) -> Iterator[TileModule]:
    """Yield all tiles of a model, each once."""
    return (tile for _, tile in named_analog_tiles(model))


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

    def named_analog_tiles(self) -> Iterator[tuple[str, TileModule]]:
        """Yield (name, tile) of the tiles, such as `0.analog_module` or `0.analog_module.array.1.0`."""
        return named_analog_tiles(self)

    def analog_tiles(self) -> Iterator[TileModule]:
        """Yield the tiles."""
        return analog_tiles(self)

    def analog_tile_count(self) -> int:
        """Return the number of tiles."""
        return sum(1 for _ in self.analog_tiles())

    def apply_to_analog_tiles(self, fn: Callable[[TileModule], Any]) -> Self:
        """Call fn with every tile; return this module."""
        for tile in self.analog_tiles():
            fn(tile)
        return self

    def apply_to_analog_layers(self, fn: Callable[[AnalogLayerBase], Any]) -> Self:
        """Call fn with every analog layer; return this module."""
        for layer in self.analog_layers():
            fn(layer)
        return self

    def remap_analog_weights(self, weight_scaling_omega: float = 1.0) -> None:
        """Write the weights of every tile again, with scales that put the largest at `weight_scaling_omega`.

        The tiles of a `SharedPeripheryArray` have one scale together.
        """
        grids = [module for module in self.modules() if isinstance(module, SharedPeripheryArray)]
        together = {id(tile) for grid in grids for tile in analog_tiles(grid)}
        alone = [tile for tile in self.analog_tiles() if id(tile) not in together]
        matrices: list[SharedPeripheryArray | TileModule] = [*grids, *alone]
        for matrix in matrices:
            matrix.remap_weights(weight_scaling_omega)

    def program_analog_weights(self, noise_model: Any = None, *, seed: int | None = None) -> None:
        """Program all inference tiles; see `aihw_torch.inference.program_analog_weights`."""
        from aihw_torch.inference import program_analog_weights  # which needs this module

        program_analog_weights(self, noise_model, seed=seed)

    def drift_analog_weights(self, t_inference: float = 0.0) -> None:
        """Read all inference tiles at a time; see `aihw_torch.inference.drift_analog_weights`."""
        from aihw_torch.inference import drift_analog_weights  # which needs this module

        drift_analog_weights(self, t_inference)

    def unregister_parameter(self, param_name: str) -> None:
        """Remove a parameter of this module; the attribute becomes None."""
        if not isinstance(self._parameters.get(param_name), nn.Parameter):
            raise StateError(f"{type(self).__name__} has no parameter of its own that is called {param_name}")
        self._parameters.pop(param_name)
        self.__dict__[param_name] = None

    def prepare_for_ddp(self, process_group: Any = None) -> Self:
        """Make every process of the group train the same tiles, with all samples of the joined batch; return the model.

        Call it before `DistributedDataParallel`, which then leaves the arrays to the tiles and averages the digital
        gradients. The tiles take the state that the first process has. All processes do the same backward passes, with
        batches of the same size; the loss is a mean over the batch, as for digital parameters.

        Args:
            process_group: of `torch.distributed`, by default all processes.
        """
        group = dist.group.WORLD if process_group is None else process_group
        ignored = list[str]()
        for name, tile in self.named_analog_tiles():
            tile.join(group)
            same_on_all_processes(tile, group)
            ignored += [f"{name}.{own}" if name else own for own in tile.NOT_FOR_DDP]
        self._ddp_params_and_buffers_to_ignore = ignored
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

        Unlike in torch, a state with an error changes nothing.

        Args:
            state_dict: what `state_dict()` returned.
            strict: whether missing and unexpected keys are an error.
            assign: for the digital parameters, as in torch; the state of a tile is always copied.
            load_rpu_config: True takes the configurations of the tiles from the state as well, False keeps those of
                the tiles; None keeps them with a warning where the two differ.
        """
        with replacing_configs(load_rpu_config), all_or_nothing(self):
            return super().load_state_dict(state_dict, strict=strict, assign=assign)
