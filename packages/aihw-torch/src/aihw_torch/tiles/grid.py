"""The product of a grid of pulsed tiles as one node of torch's graph, with one call of the simulator for all tiles.

It has the bits of a node for each tile and sums between them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

import rpu_sim
from aihw_torch import replay, threads
from aihw_torch.errors import NonFiniteError, RpuError
from aihw_torch.kept import give_away, keep_rows
from aihw_torch.tiles.analog import AnalogTile
from aihw_torch.tiles.base import may_be_repeated

if TYPE_CHECKING:
    from aihw_torch.tiles.base import TileModule

_has_global_hooks: Callable[[], bool] = torch.nn.modules.module._has_any_global_hook


def grid_of(rows: list[list[TileModule]], x: Any) -> Grid | None:
    """Return the tiles as a grid that computes together, None where a tile has more to do than its product."""
    if torch.compiler.is_compiling() or _has_global_hooks():
        return None
    tiles: list[AnalogTile] = []
    for row in rows:
        for tile in row:
            if not isinstance(tile, AnalogTile) or type(tile).forward is not AnalogTile.forward:
                return None
            tiles.append(tile)
    first = tiles[0]
    for tile in tiles:
        attributes = tile.__dict__
        if attributes["_forward_hooks"] or attributes["_forward_pre_hooks"] or not tile.is_plain(x):
            return None
        if "forward" in attributes:  # another library wraps it
            return None
        if attributes["_backward_hooks"] or attributes["_backward_pre_hooks"]:
            return None
        if tile.analog_bias or attributes["_parameters"]["bias"] is not None:
            return None
        if tile.training is not first.training or tile.process_group is not first.process_group:
            return None
        if tile.sample_count is not None:  # an evaluation numbers the samples of each tile
            return None
    return Grid(rows, tiles)  # type: ignore[arg-type]


class Grid:
    """Pulsed tiles, `rows[i][j]` for the inputs number i and the outputs number j."""

    def __init__(self, rows: list[list[AnalogTile]], tiles: list[AnalogTile]) -> None:
        self.rows, self.tiles = rows, tiles
        self.in_sizes = [row[0].in_size for row in rows]
        self.out_sizes = [tile.out_size for tile in rows[0]]
        self.training = tiles[0].training

    def __call__(self, x: Tensor) -> Tensor:
        """Return the sum over the inputs, [..., out], of what the tiles compute for x [..., in]."""
        parts = [
            part for part, row in zip(x.detach().split(self.in_sizes, dim=-1), self.rows, strict=True) for _ in row
        ]
        if replay.recomputing() or may_be_repeated(self.training):
            steps = [tile._count(part) for tile, part in zip(self.tiles, parts, strict=True)]
        else:
            steps = [tile._count_on() for tile in self.tiles]
        if not torch.is_grad_enabled():
            return self.read(parts, steps)
        y: Tensor = apply_grid(x, self, parts, steps, *(tile._parameters["weight_token"] for tile in self.tiles))
        return y

    def read(self, parts: list[Tensor], steps: list[int]) -> Tensor:
        """Return the sum of the products of these numbers with the part of the inputs of each tile."""
        threads.follow_torch()
        try:
            offset = self._offset(parts[0])
            arrays = [tile.tile for tile in self.tiles]
            results = rpu_sim.together.forward(
                arrays, parts, steps=steps, sample_offset=offset, evaluate=not self.training
            )
        except RpuError:
            for tile, step in zip(self.tiles, steps, strict=True):  # the call did not happen
                tile.forward_step.fill_(step)
            raise
        for tile, y in zip(self.tiles, results, strict=True):
            if (scale := tile._buffers["mapping_scales"]) is not None:
                y.mul_(scale)
        total = None
        wide = len(self.out_sizes)
        for first in range(0, len(results), wide):
            row = torch.cat(results[first : first + wide], dim=-1) if wide > 1 else results[first]
            total = row if total is None else total.add_(row)
        assert total is not None
        return total

    def _offset(self, part: Tensor) -> int:
        first = self.tiles[0]
        return 0 if first.process_group is None else first.sample_offset(part)

    def input_gradient(self, ds: list[Tensor], scales: list[Tensor | None], steps: list[int]) -> Tensor:
        """Return W^T s d, [..., in], for the part of the gradients of each tile; NaN where a part is not finite."""
        scaled = [d if scale is None else d * scale for d, scale in zip(ds, scales, strict=True)]
        arrays, offset, evaluate = [tile.tile for tile in self.tiles], self._offset(scaled[0]), not self.training
        try:
            found = rpu_sim.together.backward(arrays, scaled, steps=steps, sample_offset=offset, evaluate=evaluate)
        except NonFiniteError:  # goes on as NaN, because a GradScaler looks for it at the end
            found = [_one_gradient(*one, offset, evaluate) for one in zip(arrays, scaled, steps, strict=True)]
        wide = len(self.out_sizes)
        parts = []
        for first in range(0, len(found), wide):
            *others, total = found[first : first + wide]  # the order in which torch adds gradients: the last one first
            for dx in reversed(others):
                total = total + dx
            parts.append(total)
        return torch.cat(parts, dim=-1) if len(parts) > 1 else parts[0]


def _one_gradient(tile: rpu_sim.Tile, d: Tensor, step: int, offset: int, evaluate: bool) -> Tensor:
    try:
        dx: Tensor = tile.backward(d, step=step, sample_offset=offset, evaluate=evaluate)
    except NonFiniteError:
        dx = d.new_full((*d.shape[:-1], tile.in_size), torch.nan)
    return dx


class GridMVM(torch.autograd.Function):
    """Forward: the sum of what the tiles of a grid compute. Backward: the gradient of x, and the records.

    For each tile it is `autograd.AnalogMVM`.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, grid: Grid, parts: list[Tensor], steps: list[int], *tokens: Tensor) -> Tensor:
        """Return y [..., out] of x [..., in]."""
        ctx.grid, ctx.steps, ctx.n_tokens = grid, steps, len(tokens)
        ctx.scales = [tile._buffers["mapping_scales"] for tile in grid.tiles]
        weights = [tile._parameters["weight"] for tile in grid.tiles] if ctx.needs_input_grad[0] else []
        ctx.save_for_backward(x, *weights)
        return grid.read(parts, steps)

    @staticmethod
    def backward(ctx: Any, d: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of x and of the tokens."""
        return (_gradients_once if torch.is_grad_enabled() else _gradients)(ctx, d)


def _gradients(ctx: Any, d: Tensor) -> tuple[Tensor | None, ...]:
    grid, x = ctx.grid, ctx.saved_tensors[0]
    wide = len(grid.out_sizes)
    ds = [give_away(part.contiguous()) for part in d.detach().split(grid.out_sizes, dim=-1)] * len(grid.rows)
    dx = grid.input_gradient(ds, ctx.scales, ctx.steps) if ctx.needs_input_grad[0] else None
    wanted = ctx.needs_input_grad[4:]
    norms: list[Tensor | None] = [None] * ctx.n_tokens
    for i, part in enumerate(x.split(grid.in_sizes, dim=-1)):
        if not any(wanted[i * wide : (i + 1) * wide]):
            continue
        kept = keep_rows(part)
        for at in range(i * wide, (i + 1) * wide):
            if wanted[at]:
                norms[at] = grid.tiles[at].record.add(kept, ds[at])
    return dx, None, None, None, *norms


# As `autograd.apply_mvm`.
apply_grid: Any = super(torch.autograd.Function, GridMVM).apply
_gradients_once = once_differentiable(_gradients)
