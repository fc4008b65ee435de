"""Pulse generators: stochastic trains, deterministic ones, and deterministic ones of a coarse resolution.

With `DETERMINISTIC_IMPLICIT` the number of coincidences is the product of two rounded numbers, so a small gradient
below the resolution never moves a weight; `STOCHASTIC_COMPRESSED` moves it sometimes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from aihw_torch.config import ConstantStepDevice, PulseType, SingleRPUConfig, UpdateParameters
from aihw_torch.experiments import command_line, format_table, learn_two_rows
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
    options = command_line(__doc__, arguments, steps=100)

    rows = []
    for name, update in UPDATES.items():
        torch.manual_seed(options.seed)
        config = SingleRPUConfig(device=ConstantStepDevice(), update=update)
        model = AnalogLinear(4, 2, rpu_config=config)
        losses = learn_two_rows(model, AnalogSGD(model.parameters(), lr=0.1), options.steps)
        pulses = sum(model.analog_module.pulse_counts)
        rows.append({"pulses of": name, "fired": pulses, "last loss": losses[-1]})
    print(format_table(rows))
    return {row["pulses of"]: row["last loss"] for row in rows}


if __name__ == "__main__":
    main()
