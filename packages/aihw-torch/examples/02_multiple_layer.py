"""Three analog layers in an `nn.Sequential`: the backward pass goes through the noisy arrays as well."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import torch
from torch import nn

from aihw_torch.config import ConstantStepDevice, SingleRPUConfig
from aihw_torch.nn import AnalogLinear
from aihw_torch.optim import AnalogSGD


def main(arguments: Sequence[str] | None = None) -> list[float]:
    """Train, print the loss, and return it of every step."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    torch.manual_seed(options.seed)

    x = torch.tensor([[0.1, 0.2, 0.4, 0.3], [0.2, 0.1, 0.1, 0.3]])
    y = torch.tensor([[1.0, 0.5], [0.7, 0.3]])
    config = SingleRPUConfig(device=ConstantStepDevice())
    model = nn.Sequential(
        AnalogLinear(4, 3, rpu_config=config),
        AnalogLinear(3, 3, rpu_config=config),
        AnalogLinear(3, 2, rpu_config=config),
    )
    opt = AnalogSGD(model.parameters(), lr=0.1)

    losses = []
    for step in range(options.steps):
        opt.zero_grad()
        loss = nn.functional.mse_loss(model(x), y)
        loss.backward()
        opt.step()
        losses.append(loss.item())
        if step % 20 == 0:
            print(f"step {step:3}  loss {losses[-1]:.5f}")
    print(f"final loss {losses[-1]:.5f}")
    return losses


if __name__ == "__main__":
    main()
