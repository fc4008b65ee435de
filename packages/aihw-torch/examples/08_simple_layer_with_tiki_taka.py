"""Tiki-Taka: gradients are gathered on one array and moved to another, and `print` shows what a tile is made of.

Soft bounds pull each weight that is pulsed towards the device's symmetry point. What this does to the array that
gathers gradients averages out in the array that keeps the weights (doi:10.3389/fnins.2020.00103).
"""

from __future__ import annotations

from collections.abc import Sequence

from aihw_torch.config import SoftBoundsDevice, TransferCompound, UnitCellRPUConfig
from aihw_torch.experiments import command_line, learn_two_rows
from aihw_torch.nn import AnalogLinear
from aihw_torch.optim import AnalogSGD


def main(arguments: Sequence[str] | None = None) -> list[float]:
    """Train, print configuration, tile and loss, and return the loss of every step."""
    options = command_line(__doc__, arguments, steps=300)

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

    return learn_two_rows(model, AnalogSGD(model.parameters(), lr=0.3), options.steps, show=50)


if __name__ == "__main__":
    main()
