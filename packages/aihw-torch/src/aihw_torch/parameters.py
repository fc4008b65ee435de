"""The two parameters of a pulsed tile: the weight, which is the array itself, and the token, its gradient's place."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from aihw_torch.errors import ShapeError

if TYPE_CHECKING:
    from aihw_torch.tiles import AnalogTile


def _rebuild(cls: type[PulsedParameter], data: Tensor, requires_grad: bool) -> PulsedParameter:
    return cls(data, requires_grad)


class PulsedParameter(nn.Parameter):
    """A parameter that belongs to a pulsed tile; optimizers find the tile through it."""

    # Weak, because the tile has the parameter: a cycle would keep large arrays until the garbage collector runs.
    _tile: weakref.ref[AnalogTile] | None = None

    @property
    def analog_tile(self) -> AnalogTile | None:
        """The tile, None if it does not exist any more."""
        return None if self._tile is None else self._tile()

    def attach_values(self, values: Tensor) -> None:
        """Take the memory of other values, also on another device."""
        Tensor.data.__set__(self, values)  # type: ignore[attr-defined]

    def attach(self, tile: AnalogTile) -> None:
        """Make this a parameter of the tile."""
        self._tile = weakref.ref(tile)

    def __reduce_ex__(self, protocol: object) -> tuple[Callable[..., PulsedParameter], tuple[Any, ...]]:
        return _rebuild, (type(self), self.data, self.requires_grad)


class PulseToken(PulsedParameter):
    """One element, whose gradient is the norm of the weight gradient that the tile has recorded (see `record`).

    It asks for a gradient where the tile learns: `requires_grad_(False)` freezes the tile. Its value is zero and means
    nothing, so it is not part of the state.
    """

    def __new__(cls, data: Tensor | None = None, requires_grad: bool = True) -> PulseToken:
        """Return a token; data is for copies."""
        return super().__new__(cls, torch.zeros(1, device="cpu") if data is None else data, requires_grad)


class PulsedWeight(PulsedParameter):
    """The array of a tile, [out, in] in the units of the devices, with one more column for an analog bias.

    Reading it is reading the devices without noise, and writing into it in place sets them as they are; `set_weights`
    of the layer is the way to write that respects the bounds of the devices. It never asks for a gradient, so a loss
    that has `weight.norm()` in it does not train the tile. Setting `requires_grad` is passed on to the tile's token:
    freezing the weight freezes the tile.
    """

    def __new__(cls, data: Tensor, requires_grad: bool = False) -> PulsedWeight:
        """Return a parameter on the memory of data; requires_grad is for copies and must be False."""
        return super().__new__(cls, data, False)

    @property
    def logical_weight(self) -> Tensor:
        """The matrix that a floating-point layer would use, [out, in]: without the column of an analog bias."""
        tile = self.analog_tile
        return self.data if tile is None else tile.logical_weight

    @property
    def data(self) -> Tensor:
        """The values, as of every tensor; assigned values are copied into the array, which stays where it is."""
        return super().data

    @data.setter
    def data(self, values: Tensor) -> None:
        if values.shape != self.shape:
            raise ShapeError(
                f"the weight of this tile has the shape {tuple(self.shape)}; give values of that shape instead of "
                f"{tuple(values.shape)}"
            )
        if values.data_ptr() != self.data_ptr():
            with torch.no_grad():
                self.copy_(values)

    def attach_array(self, array: Tensor) -> None:
        """Move to another memory: that of the array of a copied tile."""
        self.attach_values(array)

    @property
    def requires_grad(self) -> bool:
        """Always False."""
        return False

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        self.requires_grad_(value)

    def requires_grad_(self, requires_grad: bool = True) -> PulsedWeight:
        """Freeze the tile, or let it learn again."""
        tile = self.analog_tile
        if tile is not None:
            tile.weight_token.requires_grad_(requires_grad)
        return self
