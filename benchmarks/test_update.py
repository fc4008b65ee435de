"""Pulsed updates beside the digital update of the same matrix, W += lr d^T x."""

from __future__ import annotations

from dataclasses import replace

import torch

from benchmarks.cases import LEARNING_RATE, Case, operands, update_cases
from benchmarks.conftest import SideBySide
from benchmarks.interleave import Local
from benchmarks.tiles import prepare


def cases(*, full: bool) -> list[Case]:
    return update_cases(full=full)


def digital_update(case: Case) -> Local:
    inputs = operands(case)
    weights, x, d = (torch.from_numpy(array) for array in (inputs.weights, inputs.x, inputs.d))
    return Local(lambda: weights.addmm_(d.T, x, alpha=LEARNING_RATE))


def test_pulsed_update(case: Case, side_by_side: SideBySide) -> None:
    side_by_side("pulsed update", str(case), prepare(case, "torch"), "torch addmm_", digital_update(case))


def test_cells_near_a_bound(side_by_side: SideBySide) -> None:
    near = Case("update", "constant", 512, 512, 64, near=5)
    side_by_side(
        "5 % of the cells near a bound",
        str(near),
        prepare(near),
        "none near a bound",
        prepare(replace(near, near=0)),
        "<= 3x the time",
    )
