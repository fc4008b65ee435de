"""Train a network with pulsed layers on several processes: `torchrun --nproc-per-node=2 20_data_parallel.py`.

The processes share each batch. They exchange the inputs and gradients of the pulsed layers and fire the same pulses, so
the result is that of one process on the whole batch; the digital layers follow `DistributedDataParallel`.
"""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from aihw_torch.config import SingleRPUConfig, SoftBoundsDevice
from aihw_torch.nn import AnalogLinear, AnalogSequential
from aihw_torch.optim import AnalogSGD


def main() -> None:
    """Train for 20 steps and compare the processes."""
    dist.init_process_group("gloo")
    rank, processes = dist.get_rank(), dist.get_world_size()
    config = SingleRPUConfig(device=SoftBoundsDevice())
    model = AnalogSequential(AnalogLinear(16, 32, rpu_config=config), nn.Tanh(), nn.Linear(32, 4))
    model.prepare_for_ddp()
    parallel = DistributedDataParallel(model)
    optimizer = AnalogSGD(model.parameters(), lr=0.1)
    data = torch.Generator().manual_seed(0)
    for _ in range(20):
        x, y = torch.randn(8, 16, generator=data), torch.randint(4, (8,), generator=data)
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(parallel(x.chunk(processes)[rank]), y.chunk(processes)[rank])
        loss.backward()
        optimizer.step()
    weight = model[0].get_weights()[0]
    weights = [torch.empty_like(weight) for _ in range(processes)]
    dist.all_gather(weights, weight)
    if rank == 0:
        same = all(torch.equal(weight, other) for other in weights)
        print(f"loss {loss.item():.3f}, same weights on {processes} processes: {same}")
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
