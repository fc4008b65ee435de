"""Containers of analog layers."""

from __future__ import annotations

import functools
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, ClassVar, Self

from torch import Tensor, nn

from aihw_torch.errors import StateError
from aihw_torch.nn.base import AnalogLayerBase


class AnalogContainerBase(AnalogLayerBase):
    """Base of containers: the weights of all tiles below, by the name of the tile."""

    IS_CONTAINER = True

    def get_weights(self) -> OrderedDict[str, tuple[Tensor, Tensor | None]]:
        """Return copies of the weights and biases of each tile, as `TileModule.get_weights` does."""
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

    @classmethod
    def from_digital(cls, module: nn.Sequential, rpu_config: Any = None, tile_module_class: Any = None) -> Self:
        """Return the container with the same modules."""
        analog = cls(OrderedDict(module._modules))
        analog.training = module.training  # its own; the modules have theirs
        return analog

    def to_digital(self) -> nn.Sequential:
        """Return a container of torch with the same modules."""
        digital = nn.Sequential(OrderedDict(self._modules))
        digital.training = self.training
        return digital


class AnalogWrapper(AnalogContainerBase):
    """Any model, with the methods of analog containers in addition.

    `AnalogWrapper(model)` is of a class that derives from `AnalogWrapper` and from the class of the model, and shares
    its attributes with the model. It can be pickled and copied wherever the model can.
    """

    WRAPPED: ClassVar[type[nn.Module]]

    def __new__(cls, module: nn.Module) -> AnalogWrapper:
        """Return the wrapped model."""
        if isinstance(module, AnalogContainerBase):
            raise StateError(f"a {type(module).__name__} has the methods of analog containers already; use it as it is")
        wrapper = _new(type(module))
        wrapper.__dict__ = module.__dict__
        return wrapper

    def __init__(self, module: nn.Module) -> None:
        """Nothing is left to do: the model exists."""

    def __reduce_ex__(self, protocol: object) -> tuple[Any, ...]:
        return _new, (self.WRAPPED,), self.__dict__.copy()

    @classmethod
    def from_digital(cls, module: nn.Module, rpu_config: Any = None, tile_module_class: Any = None) -> AnalogWrapper:
        """Return the wrapped model."""
        return cls(module)

    def to_digital(self) -> nn.Module:
        """Return the model as it was before wrapping; it shares its attributes with this one."""
        model: nn.Module = self.WRAPPED.__new__(self.WRAPPED)
        model.__dict__ = self.__dict__
        return model


@functools.cache
def _wrapper_class(wrapped: type[nn.Module]) -> type[AnalogWrapper]:
    name = f"AnalogWrapper{wrapped.__name__}"
    return type(name, (AnalogWrapper, wrapped), {"WRAPPED": wrapped, "__doc__": wrapped.__doc__})


def _new(wrapped: type[nn.Module]) -> AnalogWrapper:
    cls = _wrapper_class(wrapped)  # type: ignore[arg-type]
    wrapper: AnalogWrapper = object.__new__(cls)
    return wrapper
