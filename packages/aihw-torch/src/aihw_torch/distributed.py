"""Data-parallel training of pulsed tiles: every process applies the update of the joined batch to its own copy.

The processes hold identical tiles (same seeds, same counters). In the backward pass they exchange what they recorded,
in the order of their ranks, so all of them fire the same pulses and stay identical without any further exchange.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch import Tensor

from aihw_torch.errors import OptimizerError

if TYPE_CHECKING:
    from aihw_torch.tiles.base import TileModule


def gather_samples(x: Tensor, d: Tensor, group: Any) -> tuple[Tensor, Tensor]:
    """Return the samples of all processes, by rank: x [samples, in], and d [samples, out] over the number of processes.

    The division makes the gradient the mean over the processes, as `DistributedDataParallel` does with digital ones.
    """
    processes = dist.get_world_size(group)
    # On the device of the samples: NCCL knows no memory of the host.
    size = torch.tensor([x.shape[0]], device=x.device)
    sizes = [torch.empty_like(size) for _ in range(processes)]
    dist.all_gather(sizes, size, group=group)
    counts = [int(size) for size in sizes]
    joined = torch.cat([x, d], dim=1)
    padded = joined.new_zeros(max(counts), joined.shape[1])
    padded[: len(joined)] = joined
    parts = [torch.empty_like(padded) for _ in range(processes)]
    dist.all_gather(parts, padded, group=group)
    rows = torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)])
    all_x, all_d = rows.split([x.shape[1], d.shape[1]], dim=1)
    return all_x.contiguous(), all_d / processes


def same_on_all_processes(tile: TileModule, group: Any) -> None:
    """Give the tile the state that it has in the first process of the group."""
    state = tile.state_dict()
    source = dist.get_global_rank(group, 0) if group is not dist.group.WORLD else 0
    for values in state.values():
        sent = values.detach().to(tile.device)  # that of the group's collectives, also for what the host keeps
        dist.broadcast(sent, src=source, group=group)
        values.detach().copy_(sent)
    tile.load_state_dict(state)


def check_data_parallel(tile: TileModule) -> None:
    """Raise an error if several processes train and nobody has said how this tile takes part."""
    if tile.process_group is None and dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
        raise OptimizerError(
            f"{dist.get_world_size()} processes run and the {tile.describe()} would learn only from this one; call "
            "prepare_for_ddp() of the model, with a group of this process alone if that is what you want"
        )
