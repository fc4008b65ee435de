"""Training that test_distributed runs in one process and in two: `python data_parallel.py RANK PROCESSES PORT FILE`."""

from __future__ import annotations

import os
import sys

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

from aihw_torch.config import ExpStepDevice, FloatingPointRPUConfig, MappingParameter, SingleRPUConfig
from aihw_torch.nn import AnalogConv2d, AnalogLinear, AnalogSequential
from aihw_torch.optim import AnalogSGD
from aihw_torch.tiles import WeightTile

BATCH, STEPS = 8, 4


def pulsed_network():
    """Return a network of noisy pulsed layers alone, one of them used twice, one on several tiles."""
    config = SingleRPUConfig(device=ExpStepDevice())
    grid = SingleRPUConfig(mapping=MappingParameter(max_input_size=10, weight_scaling_omega=0.5))
    return AnalogSequential(
        AnalogConv2d(1, 2, 3, bias=False, rpu_config=config),
        nn.ReLU(),
        nn.Flatten(),
        AnalogLinear(18, 6, False, grid),
        shared := AnalogLinear(6, 6, False, SingleRPUConfig()),
        nn.ReLU(),
        shared,
    )


def mixed_network():
    """Return a network of digital, pulsed and software-trained layers, without noise."""
    config = SingleRPUConfig(tile_class=WeightTile)
    return AnalogSequential(
        nn.Flatten(), nn.Linear(25, 6), AnalogLinear(6, 6, rpu_config=FloatingPointRPUConfig()), nn.Tanh(),
        AnalogLinear(6, 6, rpu_config=config),
    )  # fmt: skip


def software_network():
    """Return a network of layers that are trained in software, without noise."""
    config = SingleRPUConfig(tile_class=WeightTile, mapping=MappingParameter(weight_scaling_omega=0.5))
    first, last = AnalogLinear(25, 6, rpu_config=config), AnalogLinear(6, 6, rpu_config=config)
    return AnalogSequential(nn.Flatten(), first, nn.Tanh(), last)


def train_sharded(rank, processes):
    """Train a network whose parameters are cut over the processes; return the whole parameters."""
    torch.manual_seed(0)
    model = software_network()
    if processes > 1:
        mesh = init_device_mesh("cpu", (processes,))
        for module in (model[1], model[3], model):
            fully_shard(module, mesh=mesh)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for step in range(STEPS):
        generator = torch.Generator().manual_seed(step)
        x = torch.randn(BATCH, 1, 5, 5, generator=generator).chunk(processes)[rank]
        y = torch.randn(BATCH, 6, generator=generator).chunk(processes)[rank]
        optimizer.zero_grad()
        nn.functional.mse_loss(model(x), y).backward()
        optimizer.step()
    whole = ((n, p.full_tensor() if processes > 1 else p) for n, p in model.named_parameters())
    return {name: values.detach().clone() for name, values in whole}


def train(make, rank, processes, wrap):
    """Train on the part of each batch that belongs to the rank; return the model."""
    torch.manual_seed(rank if processes > 1 and rank else 0)  # other processes start from something else
    model = make()
    if processes > 1:
        model.prepare_for_ddp()
    run = DistributedDataParallel(model) if wrap and processes > 1 else model
    optimizer = AnalogSGD(model.parameters(), lr=0.1)
    for step in range(STEPS):
        generator = torch.Generator().manual_seed(step)
        x = torch.randn(BATCH, 1, 5, 5, generator=generator).chunk(processes)[rank]
        y = torch.randn(BATCH, 6, generator=generator).chunk(processes)[rank]
        optimizer.zero_grad()
        for part in range(2):  # two backward passes
            nn.functional.mse_loss(run(x + part), y).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()
    return model


def results(rank, processes):
    return {
        "pulsed": train(pulsed_network, rank, processes, wrap=False).state_dict(),
        "mixed": train(mixed_network, rank, processes, wrap=True).state_dict(),
        "sharded": train_sharded(rank, processes),
    }


def main():
    rank, processes, port, file = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=port)
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=processes)
    found = results(rank, processes)
    # Nobody has said how a fresh model takes part: it must not train on its own.
    layer = AnalogLinear(2, 2)
    layer(torch.ones(1, 2)).sum().backward()
    try:
        AnalogSGD(layer.parameters(), lr=0.1).step()
    except RuntimeError as error:
        found["error"] = str(error)
    try:
        fully_shard(AnalogLinear(2, 2), mesh=init_device_mesh("cpu", (processes,)))
    except ValueError as error:
        found["sharding"] = str(error)
    torch.save(found, file)
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
