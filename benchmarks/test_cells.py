"""A step of a cell of several devices beside the sum of its parts: the same calls of plain tiles, one after another."""

from __future__ import annotations

from itertools import cycle

import numpy as np

import rpu_sim
from benchmarks.cases import LEARNING_RATE, Case, cell_cases, operands
from benchmarks.conftest import SideBySide
from benchmarks.interleave import Local
from benchmarks.tiles import prepare
from rpu_sim import config as c


def cases(*, full: bool) -> list[Case]:
    return cell_cases(full=full)


def parts(case: Case) -> Local:
    """The calls of plain tiles that a step consists of.

    For transfers an update, a read and a write of one column; for cells of two devices two updates and their sum; for
    mixed precision a digital update and a pulse at every cell.
    """
    inputs = operands(case)
    x, d, shape = inputs.x, inputs.d, (case.out_size, case.in_size)
    device = c.SingleRPUConfig(device=c.ConstantStepDevice())
    first, second = (rpu_sim.Tile(*shape, device, seed=seed) for seed in (1, 2))
    digital = rpu_sim.Tile(*shape, c.FloatingPointRPUConfig())
    one_each = [np.ones((1, n), np.float32) for n in reversed(shape)]  # a pulse at every cell
    signs = cycle((np.float32(1.0), np.float32(-1.0)))
    signed, one_hot, total = cycle((d, -d)), np.eye(1, case.in_size, dtype=np.float32), np.empty(shape, np.float32)

    def transfer() -> None:
        first.update(x, next(signed), LEARNING_RATE)
        second.update(one_hot, first.forward(one_hot), LEARNING_RATE)

    def sum_of_two() -> None:
        now = next(signed)
        for array in (first, second):
            array.update(x, now, LEARNING_RATE)
        np.multiply(first.weights, np.float32(0.5), out=total)
        np.add(total, np.float32(0.5) * second.weights, out=total)

    def digital_gradient() -> None:
        now = next(signed)
        digital.update(x, now, LEARNING_RATE)
        first.update(one_each[0], next(signs) * one_each[1], first.granularity)

    calls = {"vector": sum_of_two, "one_sided": sum_of_two, "mixed_precision": digital_gradient}

    def restore() -> None:
        for array in (first, second):
            array.set_weights(inputs.weights)

    restore()
    return Local(calls.get(case.device, transfer), restore)


def test_step_of_a_cell(case: Case, side_by_side: SideBySide) -> None:
    side_by_side("step of a cell", str(case), prepare(case), "its parts", parts(case), "<= 1.3x the time")
