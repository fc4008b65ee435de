"""Drift exponents that depend on the conductance: a table of one's own in the place of the built-in fit.

`CustomDriftPCMLikeNoiseModel` interpolates mean and spread of the exponent between given conductances. The error of the
weights over time is compared with the built-in model, on many chips at once.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from aihw_inference import CustomDriftPCMLikeNoiseModel, PCMLikeNoiseModel, SinglePairConductanceConverter, program
from aihw_torch.experiments import command_line, format_table

DRIFT = {
    "g_lst": [0.0, 10.0, 20.0],  # microsiemens
    "nu_mean_lst": [0.08, 0.05, 0.03],
    "nu_std_lst": [0.03, 0.02, 0.01],
}
TIMES = (1.0, 3600.0, 86400.0, 2592000.0, 31536000.0)


def main(arguments: Sequence[str] | None = None) -> list[dict[str, float]]:
    """Program, print the relative error over time, and return the rows."""
    options = command_line(__doc__, arguments, size=(128, "of the square matrix"), chips=10)

    weights = torch.randn(options.size, options.size, generator=torch.Generator().manual_seed(options.seed))
    models = {
        "built-in": PCMLikeNoiseModel(g_max=20.0),
        "table": CustomDriftPCMLikeNoiseModel(DRIFT, g_converter=SinglePairConductanceConverter(g_max=20.0)),
        "table, no noise": CustomDriftPCMLikeNoiseModel(DRIFT, g_max=20.0, prog_noise_scale=0.0, read_noise_scale=0.0),
    }
    rows = [{"t (s)": t} for t in TIMES]
    for name, model in models.items():
        chips = program(weights, model, rng=options.seed, n_chips=options.chips)
        for row in rows:
            error = chips.weights_at(row["t (s)"]) - weights
            row[name] = float(error.square().mean().sqrt() / weights.square().mean().sqrt())
    print(format_table(rows))
    return rows


if __name__ == "__main__":
    main()
