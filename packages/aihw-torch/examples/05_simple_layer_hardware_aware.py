"""One layer is trained hardware-aware, programmed into phase-change memory, and read over a year.

In training each forward pass clips the weights and reads a noisy copy of them. Then `drift_analog_weights` programs
them into devices and reads these at a time after; one factor per tile, `drift_factor`, compensates the mean drift.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import torch
from torch.nn.functional import mse_loss

from aihw_torch.config import InferenceRPUConfig, WeightClipType, WeightModifierType
from aihw_torch.experiments import format_table
from aihw_torch.inference import drift_analog_weights
from aihw_torch.nn import AnalogLinear
from aihw_torch.optim import AnalogSGD


def main(arguments: Sequence[str] | None = None) -> list[dict[str, float]]:
    """Train, print the loss over time, and return the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    torch.manual_seed(options.seed)

    x = torch.tensor([[0.1, 0.2, 0.4, 0.3], [0.2, 0.1, 0.1, 0.3]])
    y = torch.tensor([[1.0, 0.5], [0.7, 0.3]])
    config = InferenceRPUConfig()
    config.forward.out_res, config.forward.out_noise = -1.0, 0.02  # no ADC, some noise
    config.clip.type, config.clip.fixed_value = WeightClipType.FIXED_VALUE, 1.0
    config.modifier.type, config.modifier.std_dev, config.modifier.pdrop = WeightModifierType.MULT_NORMAL, 0.1, 0.05
    model = AnalogLinear(4, 2, rpu_config=config)
    opt = AnalogSGD(model.parameters(), lr=0.1)  # any optimizer of torch will do: the weights are ordinary parameters
    for _ in range(options.steps):
        opt.zero_grad()
        mse_loss(model(x), y).backward()
        opt.step()

    rows = []
    model.eval()
    with torch.no_grad():
        for t in (0.0, 1.0, 20.0, 1000.0, 1e5, 3e7):
            drift_analog_weights(model, t)
            factor = float(model.analog_module.alpha.mean())
            rows.append({"t (s)": t, "loss": mse_loss(model(x), y).item(), "compensation": factor})
    print(format_table(rows))
    return rows


if __name__ == "__main__":
    main()
