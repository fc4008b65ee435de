"""The step of the optimizer for pulsed tiles: all that is on a device by one call, after waiting for it once."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

import rpu_sim
from aihw_torch.distributed import check_data_parallel
from aihw_torch.record import numbers

if TYPE_CHECKING:
    from aihw_torch.tiles.analog import AnalogTile


class GradientNorms(NamedTuple):
    """Norms of the weight gradient of a tile: as it was recorded, and what became of it in the token's gradient."""

    recorded: float | None
    wanted: float | None


def gradient_norms(tiles: list[AnalogTile]) -> list[GradientNorms]:
    """Return the norms of tiles; this waits once for each GPU."""
    found = numbers([norm for tile in tiles for norm in (tile.record.norm, tile.weight_token.grad)])
    return [GradientNorms(*pair) for pair in zip(found[::2], found[1::2], strict=True)]


def check_gradients(tiles: list[AnalogTile], norms: list[GradientNorms]) -> None:
    """Do `AnalogTile.check_gradient` for tiles."""
    for tile in tiles:
        check_data_parallel(tile)
    for tile, norm in zip(tiles, norms, strict=True):
        if norm.wanted is not None:
            tile._check_norm(norm.wanted)


def step_together(steps: list[tuple[AnalogTile, float]], norms: list[GradientNorms]) -> None:
    """Do `AnalogTile.step` for tiles, each once, with their learning rates: one call for all of a device.

    The tiles have nothing to do with each other, so that the result is that of one step after the other.
    """
    by_device: dict[torch.device, list[tuple[AnalogTile, Tensor, Tensor, float]]] = {}
    for (tile, lr), norm in zip(steps, norms, strict=True):
        taken = tile._take_record(norm.recorded, norm.wanted)
        if taken is not None and lr != 0.0:
            x, d = taken
            by_device.setdefault(tile.device, []).append((tile, x, *tile._of_array(d, lr)))
    for updates in by_device.values():
        if len(updates) == 1:
            ((tile, x, d, lr),) = updates
            tile.tile.update(x, d, lr)
        else:
            tiles, xs, ds, lrs = zip(*updates, strict=True)
            rpu_sim.together.update([tile.tile for tile in tiles], xs, ds, lrs)
    for tile, _ in steps:
        tile.post_update_step()
