"""Mixed precision: the gradient is summed in digital memory, and only whole steps of the devices are written.

The outer product of inputs and errors is computed digitally with quantised factors; where the sum passes the size of
one pulse, pulses are fired (doi:10.3389/fnins.2020.00406).
"""

from __future__ import annotations

from collections.abc import Sequence

from aihw_torch.config import DigitalRankUpdateRPUConfig, MixedPrecisionCompound, SoftBoundsDevice
from aihw_torch.experiments import command_line, learn_two_rows
from aihw_torch.nn import AnalogLinear
from aihw_torch.optim import AnalogSGD


def main(arguments: Sequence[str] | None = None) -> list[float]:
    """Train, print the loss, and return it of every step."""
    options = command_line(__doc__, arguments, steps=200)

    cell = MixedPrecisionCompound(device=SoftBoundsDevice(), transfer_every=1, n_x_bins=15, n_d_bins=15)
    config = DigitalRankUpdateRPUConfig(device=cell)
    print(config)
    model = AnalogLinear(4, 2, rpu_config=config)
    return learn_two_rows(model, AnalogSGD(model.parameters(), lr=0.1), options.steps, show=20)


if __name__ == "__main__":
    main()
