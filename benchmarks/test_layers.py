"""Layers of aihw-torch beside their torch counterparts: forward and backward, and a whole training step."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle

import pytest
import torch
from torch import nn

from benchmarks.cases import LEARNING_RATE, Case, operands
from benchmarks.conftest import SideBySide
from benchmarks.interleave import Local

aihw_nn = pytest.importorskip("aihw_torch.nn", reason="measures the layers of aihw-torch")
aihw_optim = pytest.importorskip("aihw_torch.optim", reason="measures the layers of aihw-torch")

SHAPES = [(64, 1), (256, 32), (512, 64)]  # size of a square layer, batch size


def gradients(case: Case) -> tuple[torch.Tensor, Iterator[torch.Tensor]]:
    """The input, and the gradients of the output: d and -d in turn, so that training goes nowhere."""
    inputs = operands(case)
    d = torch.from_numpy(inputs.d)
    return torch.from_numpy(inputs.x).requires_grad_(), cycle((d, -d))


def passes(layer: nn.Module, case: Case) -> Local:
    """Forward and backward pass; the gradients are dropped, as before each training step."""
    x, signed = gradients(case)

    def run() -> None:
        layer.zero_grad()
        x.grad = None
        layer(x).backward(next(signed))

    return Local(run)


def training(layer: nn.Module, optimizer: torch.optim.Optimizer, case: Case) -> Local:
    """One step of stochastic gradient descent."""
    x, signed = gradients(case)

    def run() -> None:
        optimizer.zero_grad()
        x.grad = None
        layer(x).backward(next(signed))
        optimizer.step()

    return Local(run)


@pytest.mark.parametrize(("size", "batch"), SHAPES)
def test_linear_passes(size: int, batch: int, side_by_side: SideBySide) -> None:
    case = Case("forward", "constant", size, size, batch)
    analog, digital = passes(aihw_nn.AnalogLinear(size, size), case), passes(nn.Linear(size, size), case)
    target = "<= 2.5x the time" if size == 64 else ""
    side_by_side("layers", f"AnalogLinear passes {size}x{size}-b{batch}", analog, "nn.Linear", digital, target)


@pytest.mark.parametrize(("size", "batch"), SHAPES)
def test_linear_training_step(size: int, batch: int, side_by_side: SideBySide) -> None:
    case = Case("update", "constant", size, size, batch)
    layer, twin = aihw_nn.AnalogLinear(size, size), nn.Linear(size, size)
    analog = training(layer, aihw_optim.AnalogSGD(layer.parameters(), lr=LEARNING_RATE), case)
    digital = training(twin, torch.optim.SGD(twin.parameters(), lr=LEARNING_RATE), case)
    side_by_side("layers", f"AnalogLinear training step {size}x{size}-b{batch}", analog, "nn.Linear and SGD", digital)
