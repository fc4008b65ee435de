"""Products with the default input and output (DAC, ADC, noise, bound and noise management) beside plain ones."""

from __future__ import annotations

import torch
from torch.nn.functional import linear

from benchmarks.cases import Case, mvm_cases, operands
from benchmarks.conftest import SideBySide
from benchmarks.interleave import Local
from benchmarks.tiles import prepare


def cases(*, full: bool) -> list[Case]:
    return [case for case in mvm_cases(full=full) if case.operation == "forward"]


def both_passes(case: Case) -> Local:
    """Forward and backward pass of one tile."""
    forward = prepare(case, "torch")
    backward = prepare(Case("backward", case.device, case.out_size, case.in_size, case.batch), "torch")
    return Local(lambda: (forward.call(), backward.call()))


def two_products(case: Case) -> Local:
    inputs = operands(case)
    weights, x, d = (torch.from_numpy(array) for array in (inputs.weights, inputs.x, inputs.d))
    y, dx = torch.empty_like(d), torch.empty_like(x)
    return Local(lambda: (torch.mm(x, weights.T, out=y), torch.mm(d, weights, out=dx)))


def test_forward_and_backward(case: Case, side_by_side: SideBySide) -> None:
    large = case.out_size >= 512 and case.batch >= 64
    target = "<= 1.3x the time" if large else "<= 1.5x the time" if case.batch >= 32 else ""
    name = str(case).replace("forward", "forward+backward")
    side_by_side("forward and backward", name, both_passes(case), "two torch products", two_products(case), target)


def test_forward(case: Case, side_by_side: SideBySide) -> None:
    inputs = operands(case)
    weights, x = torch.from_numpy(inputs.weights), torch.from_numpy(inputs.x)
    plain = Local(lambda: linear(x, weights))
    target = "<= 1x the time" if case.batch <= 8 else ""
    side_by_side("forward", str(case), prepare(case, "torch"), "torch F.linear", plain, target)
