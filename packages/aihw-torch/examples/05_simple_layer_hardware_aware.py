"""One layer is trained hardware-aware, programmed into phase-change memory, and read over a year.

In training each forward pass clips the weights and reads a noisy copy of them. Then `drift_analog_weights` programs
them into devices and reads these at a time after; one factor per tile, `alpha`, compensates the mean drift.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn.functional import mse_loss

from aihw_torch.config import InferenceRPUConfig, WeightClipType, WeightModifierType
from aihw_torch.experiments import command_line, format_table, learn_two_rows, two_rows
from aihw_torch.inference import drift_analog_weights
from aihw_torch.nn import AnalogLinear
from aihw_torch.optim import AnalogSGD


def main(arguments: Sequence[str] | None = None) -> list[dict[str, float]]:
    """Train, print the loss over time, and return the rows."""
    options = command_line(__doc__, arguments, steps=200)

    config = InferenceRPUConfig()
    config.forward.out_res, config.forward.out_noise = -1.0, 0.02  # no ADC, some noise
    config.clip.type, config.clip.fixed_value = WeightClipType.FIXED_VALUE, 1.0
    config.modifier.type, config.modifier.std_dev, config.modifier.pdrop = WeightModifierType.MULT_NORMAL, 0.1, 0.05
    model = AnalogLinear(4, 2, rpu_config=config)
    opt = AnalogSGD(model.parameters(), lr=0.1)  # any optimizer of torch will do: the weights are ordinary parameters
    learn_two_rows(model, opt, options.steps)

    rows, (x, y) = [], two_rows()
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
