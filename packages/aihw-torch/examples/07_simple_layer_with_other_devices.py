"""Cells of several devices: three of different kinds in each crosspoint, whose weights are added.

The policy of a `VectorUnitCell` says which of them a pulse reaches: all of them, or one at a time in turn.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from aihw_torch.config import (
    ConstantStepDevice,
    LinearStepDevice,
    SoftBoundsDevice,
    UnitCellRPUConfig,
    VectorUnitCell,
    VectorUnitCellUpdatePolicy,
)
from aihw_torch.experiments import command_line, format_table, learn_two_rows
from aihw_torch.nn import AnalogLinear
from aihw_torch.optim import AnalogSGD


def main(arguments: Sequence[str] | None = None) -> dict[str, float]:
    """Train with both policies, print a table, and return the last losses."""
    options = command_line(__doc__, arguments, steps=200)

    devices = [ConstantStepDevice(), LinearStepDevice(w_max_dtod=0.4), SoftBoundsDevice()]
    rows = []
    for policy in (VectorUnitCellUpdatePolicy.ALL, VectorUnitCellUpdatePolicy.SINGLE_SEQUENTIAL):
        torch.manual_seed(options.seed)
        config = UnitCellRPUConfig(device=VectorUnitCell(unit_cell_devices=devices, update_policy=policy))
        model = AnalogLinear(4, 2, rpu_config=config)
        losses = learn_two_rows(model, AnalogSGD(model.parameters(), lr=0.3), options.steps)
        rows.append({"policy": policy.name, "first loss": losses[0], "last loss": losses[-1]})
    print(format_table(rows))
    return {row["policy"]: row["last loss"] for row in rows}


if __name__ == "__main__":
    main()
