"""A block-diagonal matrix: one tile, or grid of tiles, for each block."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from aihw_torch import seeds
from aihw_torch.errors import ShapeError
from aihw_torch.tiles.mapping import default_tile_module_class


class TileGroups(nn.Module):
    """The blocks of a grouped convolution: each maps its part of the inputs to its part of the outputs.

    Args:
        out_size: number of outputs of all groups.
        in_size: number of inputs of each group.
        rpu_config: the configuration of every tile.
        bias: whether to add a digital bias.
        groups: number of groups.
        tile_module_class: of each group; by default as for a layer of its size.
        seed: of all groups, from which each gets its own; by default it follows torch's (see `seeds`).

    Attributes:
        groups: the modules of the groups.
        bias: a parameter [out] or None.
    """

    def __init__(
        self,
        out_size: int,
        in_size: int,
        rpu_config: Any,
        bias: bool,
        groups: int,
        tile_module_class: Any = None,
        *,
        seed: int | None = None,
    ) -> None:
        super().__init__()
        self.out_size, self.in_size = out_size, in_size
        rows = out_size // groups
        make = tile_module_class or default_tile_module_class(rpu_config, rows, in_size)
        seed, rpu_config = seeds.torch_seed() if seed is None else seed, rpu_config.frozen_copy()
        self.groups = nn.ModuleList(
            make(rows, in_size, rpu_config, seed=seeds.tile_seed(seed, group)) for group in range(groups)
        )
        self.bias = nn.Parameter(torch.zeros(out_size, dtype=torch.float32, device="cpu")) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs [..., out] of the inputs [..., groups * in]."""
        parts = x.split(self.in_size, dim=-1)
        y = torch.cat([tile(part) for tile, part in zip(self.groups, parts, strict=True)], dim=-1)
        return y if self.bias is None else y + self.bias.to(y.dtype)

    @property
    def weight(self) -> Tensor:
        """The matrices of the groups below each other, [out, in], a read-only copy."""
        return self.get_weights()[0]

    @property
    def analog_bias(self) -> bool:
        """Always False: the bias is digital."""
        return False

    def set_weights(self, weight: Any, bias: Any = None, **options: Any) -> None:
        """Set the weights [out, in] and the bias [out] if it is given; options as in `TileModule.set_weights`."""
        weight = torch.as_tensor(weight, dtype=torch.float32, device="cpu").detach()
        if weight.numel() != self.out_size * self.in_size:
            raise ShapeError(
                f"this layer takes weights of the shape {(self.out_size, self.in_size)}, not {tuple(weight.shape)}"
            )
        for tile, part in zip(self.groups, weight.reshape(len(self.groups), -1, self.in_size), strict=True):
            tile.set_weights(part, **options)  # type: ignore[operator]
        if bias is None:
            return
        if self.bias is None:
            raise ShapeError("this layer has no bias; leave it out")
        with torch.no_grad():
            self.bias.copy_(torch.as_tensor(bias))

    def get_weights(self, apply_weight_scaling: bool = True, realistic: bool = False) -> tuple[Tensor, Tensor | None]:
        """Return copies of the weights [out, in], logical or in units of the arrays, and of the bias [out] or None."""
        weight = torch.cat([tile.get_weights(apply_weight_scaling, realistic)[0] for tile in self.groups])  # type: ignore[operator]
        return weight, None if self.bias is None else self.bias.detach().clone()

    def extra_repr(self) -> str:
        """Describe the groups in the representation of a model."""
        return f"{self.out_size}, {self.in_size}, groups={len(self.groups)}, bias={self.bias is not None}"
