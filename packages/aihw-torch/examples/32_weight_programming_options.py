"""How a weight becomes conductances: one device, one pair, several pairs, curves of one's own.

More devices per weight average errors out, and curves may use any part of the range of the devices. The error
is that of the weights an hour after programming, with the mean drift compensated.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from aihw_inference import (
    CustomPairConductanceConverter,
    DualPairConductanceConverter,
    GlobalDriftCompensation,
    NPairConductanceConverter,
    PCMLikeNoiseModel,
    SingleDeviceConductanceConverter,
    SinglePairConductanceConverter,
    program,
    read_compensated,
)
from aihw_torch.experiments import command_line, format_table

CONVERTERS = {
    "single device": SingleDeviceConductanceConverter(g_max=25.0, g_min=0.1),
    "single pair": SinglePairConductanceConverter(g_max=25.0, g_min=0.1),
    "two pairs, 1 and 1": DualPairConductanceConverter([1.0, 1.0], g_max=25.0, g_min=0.1),
    "three pairs, 1, 1 and 1": NPairConductanceConverter([1.0, 1.0, 1.0], g_max=25.0, g_min=0.1),
    "custom curves, both devices high": CustomPairConductanceConverter(
        [1.0], [[5.0, 12.5, 25.0], [25.0, 12.5, 5.0]], g_max=25.0, g_min=0.1
    ),
}


def main(arguments: Sequence[str] | None = None) -> dict[str, float]:
    """Program in all ways, print a table, and return the errors."""
    options = command_line(__doc__, arguments, size=(128, "of the square matrix"))

    weights = torch.randn(options.size, options.size, generator=torch.Generator().manual_seed(options.seed))
    rows = []
    for name, converter in CONVERTERS.items():
        chip = program(weights, PCMLikeNoiseModel(g_converter=converter), rng=options.seed)
        read = read_compensated(chip, 3600.0, GlobalDriftCompensation()).compensated
        conductance = float(chip.g_target.mean())
        error = float((read - weights).norm() / weights.norm())
        devices = len(chip.g_prog)
        rows.append({"conductances": name, "devices": devices, "mean (uS)": conductance, "relative error": error})
    print(format_table(rows))
    return {row["conductances"]: row["relative error"] for row in rows}


if __name__ == "__main__":
    main()
