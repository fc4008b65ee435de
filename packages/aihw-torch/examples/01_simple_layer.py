"""One analog layer learns two rows by pulses.

The default configuration is an array of constant-step devices behind noisy converters. `opt.step()` fires pulses that
move the weights in place; no matrix of gradients is ever formed.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn.functional import mse_loss

from aihw_torch.config import ConstantStepDevice, SingleRPUConfig
from aihw_torch.experiments import command_line
from aihw_torch.nn import AnalogLinear
from aihw_torch.optim import AnalogSGD


def main(arguments: Sequence[str] | None = None) -> list[float]:
    """Train, print the loss, and return it of every step."""
    options = command_line(__doc__, arguments, steps=100)

    x = torch.tensor([[0.1, 0.2, 0.4, 0.3], [0.2, 0.1, 0.1, 0.3]])
    y = torch.tensor([[1.0, 0.5], [0.7, 0.3]])
    model = AnalogLinear(4, 2, bias=True, rpu_config=SingleRPUConfig(device=ConstantStepDevice()))
    opt = AnalogSGD(model.parameters(), lr=0.1)

    losses = []
    for step in range(options.steps):
        opt.zero_grad()
        loss = mse_loss(model(x), y)
        loss.backward()
        opt.step()
        losses.append(loss.item())
        if step % 10 == 0:
            print(f"step {step:3}  loss {losses[-1]:.5f}")
    up, down = model.analog_module.pulse_counts
    print(f"final loss {losses[-1]:.5f} after {up} pulses up and {down} down")
    return losses


if __name__ == "__main__":
    main()
