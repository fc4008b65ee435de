"""A crossbar in plain PyTorch, without aihw-torch: one autograd function around a tile.

python torch_training.py
"""

from __future__ import annotations

from typing import Any

import torch

from rpu_sim import Tile
from rpu_sim.config import ConstantStepDevice, SingleRPUConfig


class Crossbar(torch.autograd.Function):
    """Forward and backward run on the tile; the update is left to the training loop."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, tile: Tile, record: list[tuple[torch.Tensor, torch.Tensor]]) -> Any:
        """Return the analog product."""
        ctx.x, ctx.tile, ctx.record = x, tile, record
        return tile.forward(x)

    @staticmethod
    def backward(ctx: Any, d: torch.Tensor) -> Any:
        """Record what the update needs and return the gradient of the input."""
        ctx.record.append((ctx.x.detach(), d))
        return ctx.tile.backward(d), None, None


def main(steps: int = 150) -> list[float]:
    """Fit two rows; returns the losses."""
    tile = Tile(2, 4, SingleRPUConfig(device=ConstantStepDevice()), seed=1, like=torch.empty(0))
    x = torch.tensor([[0.1, 0.2, 0.4, 0.3], [0.2, 0.1, 0.1, 0.3]], requires_grad=True)
    target = torch.tensor([[1.0, 0.5], [0.7, 0.3]])
    losses = []
    for step in range(steps):
        record: list[tuple[torch.Tensor, torch.Tensor]] = []
        loss = torch.nn.functional.mse_loss(Crossbar.apply(x, tile, record), target)
        loss.backward()
        for inputs, d in record:
            tile.update(inputs, d, lr=0.1)
        losses.append(loss.item())
        if step % 50 == 0 or step == steps - 1:
            print(f"step {step:3d}: loss {loss.item():.4f}")
    return losses


if __name__ == "__main__":
    main()
