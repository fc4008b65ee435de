"""Mixed precision: the gradient is summed in digital memory, and only whole steps of the devices are written.

The outer product of inputs and errors is computed digitally with quantised factors; where the sum passes the size of
one pulse, pulses are fired (doi:10.3389/fnins.2020.00406).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import torch
from torch.nn.functional import mse_loss

from aihw_torch.config import DigitalRankUpdateRPUConfig, MixedPrecisionCompound, SoftBoundsDevice
from aihw_torch.nn import AnalogLinear
from aihw_torch.optim import AnalogSGD


def main(arguments: Sequence[str] | None = None) -> list[float]:
    """Train, print the loss, and return it of every step."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    torch.manual_seed(options.seed)

    x = torch.tensor([[0.1, 0.2, 0.4, 0.3], [0.2, 0.1, 0.1, 0.3]])
    y = torch.tensor([[1.0, 0.5], [0.7, 0.3]])
    cell = MixedPrecisionCompound(device=SoftBoundsDevice(), transfer_every=1, n_x_bins=15, n_d_bins=15)
    config = DigitalRankUpdateRPUConfig(device=cell)
    print(config)
    model = AnalogLinear(4, 2, rpu_config=config)
    opt = AnalogSGD(model.parameters(), lr=0.1)

    losses = []
    for step in range(options.steps):
        opt.zero_grad()
        loss = mse_loss(model(x), y)
        loss.backward()
        opt.step()
        losses.append(loss.item())
        if step % 20 == 0:
            print(f"step {step:3}  loss {losses[-1]:.5f}")
    print(f"final loss {losses[-1]:.5f}")
    return losses


if __name__ == "__main__":
    main()
