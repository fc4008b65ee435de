"""Cells of several devices: three of different kinds in each crosspoint, whose weights are added.

The policy of a `VectorUnitCell` says which of them a pulse reaches: all of them, or one at a time in turn.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import torch
from torch.nn.functional import mse_loss

from aihw_torch.config import (
    ConstantStepDevice,
    LinearStepDevice,
    SoftBoundsDevice,
    UnitCellRPUConfig,
    VectorUnitCell,
    VectorUnitCellUpdatePolicy,
)
from aihw_torch.experiments import format_table
from aihw_torch.nn import AnalogLinear
from aihw_torch.optim import AnalogSGD


def main(arguments: Sequence[str] | None = None) -> dict[str, float]:
    """Train with both policies, print a table, and return the last losses."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)

    x = torch.tensor([[0.1, 0.2, 0.4, 0.3], [0.2, 0.1, 0.1, 0.3]])
    y = torch.tensor([[1.0, 0.5], [0.7, 0.3]])
    devices = [ConstantStepDevice(), LinearStepDevice(w_max_dtod=0.4), SoftBoundsDevice()]
    rows = []
    for policy in (VectorUnitCellUpdatePolicy.ALL, VectorUnitCellUpdatePolicy.SINGLE_SEQUENTIAL):
        torch.manual_seed(options.seed)
        config = UnitCellRPUConfig(device=VectorUnitCell(unit_cell_devices=devices, update_policy=policy))
        model = AnalogLinear(4, 2, rpu_config=config)
        opt = AnalogSGD(model.parameters(), lr=0.3)
        losses = []
        for _ in range(options.steps):
            opt.zero_grad()
            loss = mse_loss(model(x), y)
            loss.backward()
            opt.step()
            losses.append(loss.item())
        rows.append({"policy": policy.name, "first loss": losses[0], "last loss": losses[-1]})
    print(format_table(rows))
    return {row["policy"]: row["last loss"] for row in rows}


if __name__ == "__main__":
    main()
