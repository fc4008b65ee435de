"""A matrix on a grid of tiles."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from aihw_torch import seeds
from aihw_torch.config import SingleRPUConfig
from aihw_torch.errors import NonFiniteError, ShapeError
from aihw_torch.tiles.base import TileModule
from aihw_torch.tiles.dense import check_dense
from aihw_torch.tiles.grid import grid_of
from aihw_torch.tiles.mapping import split_sizes, tile_class_of


class TileModuleArray(nn.Module):
    """A matrix cut into tiles of at most `mapping.max_output_size` x `mapping.max_input_size`.

    Each tile has its own devices, converters, noise, scales and input range; the partial sums over the inputs are
    digital, and so is the bias, whatever `mapping.digital_bias` says. `SharedPeripheryArray` has one set of scales and
    one input range for the whole matrix.

    Args:
        out_size: number of outputs.
        in_size: number of inputs.
        rpu_config: the configuration of every tile, `SingleRPUConfig()` by default.
        bias: whether to add a digital bias.
        seed: of the whole grid, from which each tile gets its own; by default it follows torch's (see `seeds`).

    Attributes:
        array: the tiles, `array[i][j]` for the inputs number i and the outputs number j.
        in_sizes, out_sizes: the sizes of the parts.
        bias: a parameter [out] or None.
    """

    def __init__(
        self, out_size: int, in_size: int, rpu_config: Any = None, bias: bool = False, *, seed: int | None = None
    ) -> None:
        super().__init__()
        rpu_config = (SingleRPUConfig() if rpu_config is None else rpu_config).frozen_copy()
        self.out_size, self.in_size = out_size, in_size
        self.in_sizes = split_sizes(in_size, rpu_config.mapping.max_input_size)
        self.out_sizes = split_sizes(out_size, rpu_config.mapping.max_output_size)
        tile_class = tile_class_of(rpu_config)
        seed = seeds.torch_seed() if seed is None else seed
        self.array = nn.ModuleList(
            nn.ModuleList(
                tile_class(n_out, n_in, rpu_config, seed=seeds.tile_seed(seed, i * len(self.out_sizes) + j))
                for j, n_out in enumerate(self.out_sizes)
            )
            for i, n_in in enumerate(self.in_sizes)
        )
        self.bias = nn.Parameter(torch.zeros(out_size, dtype=torch.float32, device="cpu")) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """Return W x + bias: [..., in] float32 -> [..., out]."""
        y = self._sum(x)
        return y if self.bias is None else y + self.bias.to(y.dtype)

    def _sum(self, x: Tensor) -> Tensor:
        """Return the sum of what the tiles compute."""
        self._check_input(x)
        rows = self.rows()
        if (grid := grid_of(rows, x)) is not None:
            return grid(x)
        y = None
        for part, tiles in zip(x.split(self.in_sizes, dim=-1), rows, strict=True):
            partial = torch.cat([tile(part) for tile in tiles], dim=-1)
            y = partial if y is None else y + partial
        assert y is not None
        return y

    def _check_input(self, x: Any) -> None:
        check_dense(x, self)
        if x.shape[-1:] != (self.in_size,):
            raise ShapeError(f"this layer takes inputs [..., {self.in_size}], not {tuple(x.shape)}")

    def rows(self) -> list[list[TileModule]]:
        """Return the tiles, `rows()[i][j]` as `array`."""
        return [list(row) for row in self.array]  # type: ignore[call-overload]

    @property
    def weight(self) -> Tensor:
        """The assembled matrix [out, in], a read-only copy; `array[i][j].weight` are the arrays themselves."""
        return self.get_weights()[0]

    def set_weights(
        self,
        weight: Any,
        bias: Any = None,
        apply_weight_scaling: bool = True,
        realistic: bool = False,
        weight_scaling_omega: float | None = None,
    ) -> None:
        """Set the weights [out, in] as far as the bounds of the devices allow, and the bias [out] if it is given.

        The options are those of `TileModule.set_weights`, for each tile: every tile has scales of its own.
        """
        weight, bias = self._checked(weight, bias)
        for tile, part in self._parts(weight):
            tile.set_weights(part, None, apply_weight_scaling, realistic, weight_scaling_omega)
        self._set_bias(bias)

    def _checked(self, weight: Any, bias: Any) -> tuple[Tensor, Tensor | None]:
        """Return weights [out, in] and bias as tensors."""
        weight = torch.as_tensor(weight, dtype=torch.float32, device="cpu").detach()
        if weight.numel() != self.out_size * self.in_size:
            raise ShapeError(
                f"this layer takes weights of the shape {(self.out_size, self.in_size)}, not {tuple(weight.shape)}"
            )
        if bias is not None:
            if self.bias is None:
                raise ShapeError("this layer has no bias; leave it out")
            bias = torch.as_tensor(bias, dtype=torch.float32, device="cpu").detach()
            if bias.shape != (self.out_size,):
                raise ShapeError(f"the bias has the shape {tuple(bias.shape)} instead of {(self.out_size,)}")
        if not all(torch.isfinite(values).all() for values in (weight, bias) if values is not None):
            raise NonFiniteError("the weights or the bias contain NaN or infinity and nothing was set")
        return weight.reshape(self.out_size, self.in_size), bias

    def _parts(self, matrix: Tensor) -> Iterator[tuple[TileModule, Tensor]]:
        """Yield each tile with its part of a matrix [out, in]."""
        for column, tiles in zip(matrix.split(self.in_sizes, dim=1), self.rows(), strict=True):
            yield from zip(tiles, column.split(self.out_sizes, dim=0), strict=True)

    @torch.no_grad()
    def _set_bias(self, bias: Tensor | None) -> None:
        if self.bias is not None and bias is not None:
            self.bias.copy_(bias)

    def get_weights(self, apply_weight_scaling: bool = True, realistic: bool = False) -> tuple[Tensor, Tensor | None]:
        """Return copies of the weights [out, in], logical or in units of the arrays, and of the bias [out] or None."""
        columns = [
            torch.cat([tile.get_weights(apply_weight_scaling, realistic)[0] for tile in tiles]) for tiles in self.rows()
        ]
        return torch.cat(columns, dim=1), None if self.bias is None else self.bias.detach().clone()

    @property
    def analog_bias(self) -> bool:
        """Always False: the bias of a grid is digital."""
        return False

    def extra_repr(self) -> str:
        """Describe the grid in the representation of a model."""
        return f"{self.out_size}, {self.in_size}, bias={self.bias is not None}"
