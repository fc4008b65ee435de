"""Pulse generators: stochastic trains, deterministic ones, and deterministic ones of a coarse resolution.

With `DETERMINISTIC_IMPLICIT` the number of coincidences is the product of two rounded numbers, so a small gradient
below the resolution never moves a weight; `STOCHASTIC_COMPRESSED` moves it sometimes.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import torch
from torch.nn.functional import mse_loss

from aihw_torch.config import ConstantStepDevice, PulseType, SingleRPUConfig, UpdateParameters
from aihw_torch.experiments import format_table
from aihw_torch.nn import AnalogLinear
from aihw_torch.optim import AnalogSGD

UPDATES = {
    "stochastic": UpdateParameters(pulse_type=PulseType.STOCHASTIC_COMPRESSED),
    "deterministic": UpdateParameters(
        pulse_type=PulseType.DETERMINISTIC_IMPLICIT, x_res_implicit=0.01, d_res_implicit=0.01
    ),
    "deterministic, coarse": UpdateParameters(
        pulse_type=PulseType.DETERMINISTIC_IMPLICIT, x_res_implicit=0.3, d_res_implicit=0.3
    ),
}


def main(arguments: Sequence[str] | None = None) -> dict[str, float]:
    """Train with each generator, print a table, and return the last losses."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)

    x = torch.tensor([[0.1, 0.2, 0.4, 0.3], [0.2, 0.1, 0.1, 0.3]])
    y = torch.tensor([[1.0, 0.5], [0.7, 0.3]])
    rows = []
    for name, update in UPDATES.items():
        torch.manual_seed(options.seed)
        config = SingleRPUConfig(device=ConstantStepDevice(), update=update)
        model = AnalogLinear(4, 2, rpu_config=config)
        opt = AnalogSGD(model.parameters(), lr=0.1)
        for _ in range(options.steps):
            opt.zero_grad()
            loss = mse_loss(model(x), y)
            loss.backward()
            opt.step()
        pulses = sum(model.analog_module.pulse_counts)
        rows.append({"pulses of": name, "fired": pulses, "last loss": loss.item()})
    print(format_table(rows))
    return {row["pulses of"]: row["last loss"] for row in rows}


if __name__ == "__main__":
    main()
