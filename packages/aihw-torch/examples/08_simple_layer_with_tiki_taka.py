"""Tiki-Taka: gradients are gathered on one array and moved to another, and `print` shows what a tile is made of.

Soft bounds pull each weight that is pulsed towards the device's symmetry point. What this does to the array that
gathers gradients averages out in the array that keeps the weights (doi:10.3389/fnins.2020.00103).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import torch
from torch.nn.functional import mse_loss

from aihw_torch.config import SoftBoundsDevice, TransferCompound, UnitCellRPUConfig
from aihw_torch.nn import AnalogLinear
from aihw_torch.optim import AnalogSGD


def main(arguments: Sequence[str] | None = None) -> list[float]:
    """Train, print configuration, tile and loss, and return the loss of every step."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    torch.manual_seed(options.seed)

    x = torch.tensor([[0.1, 0.2, 0.4, 0.3], [0.2, 0.1, 0.1, 0.3]])
    y = torch.tensor([[1.0, 0.5], [0.7, 0.3]])
    cell = TransferCompound(
        unit_cell_devices=[SoftBoundsDevice(w_min=-0.3, w_max=0.3), SoftBoundsDevice(w_min=-0.6, w_max=0.6)],
        units_in_mbatch=True,  # transfer_every counts mini-batches
        transfer_every=2,
        transfer_lr=0.5,
        gamma=0.0,  # the gathering array does not add to the weight
        scale_transfer_lr=True,
    )
    config = UnitCellRPUConfig(device=cell)
    model = AnalogLinear(4, 2, rpu_config=config)
    print(config, "\n")
    print(model.analog_module, "\n")

    opt = AnalogSGD(model.parameters(), lr=0.3)
    losses = []
    for step in range(options.steps):
        opt.zero_grad()
        loss = mse_loss(model(x), y)
        loss.backward()
        opt.step()
        losses.append(loss.item())
        if step % 50 == 0:
            print(f"step {step:3}  loss {losses[-1]:.5f}")
    print(f"final loss {losses[-1]:.5f}")
    return losses


if __name__ == "__main__":
    main()
