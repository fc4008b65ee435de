"""A training step of a LeNet, which runs in both environments: on our layers and on the peer's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from benchmarks.cases import LEARNING_RATE, NetworkCase, build_config
from benchmarks.interleave import Local


def lenet() -> nn.Sequential:
    """The network: images [n, 1, 28, 28] to the logits of 10 classes."""
    first = [nn.Conv2d(1, 16, 5), nn.Tanh(), nn.MaxPool2d(2)]
    second = [nn.Conv2d(16, 32, 5), nn.Tanh(), nn.MaxPool2d(2)]
    return nn.Sequential(*first, *second, nn.Flatten(), nn.Linear(512, 128), nn.Tanh(), nn.Linear(128, 10))


def step(model: nn.Module, batch: int, analog_sgd: Callable[..., torch.optim.Optimizer]) -> Local:
    """Stochastic gradient descent on one batch; the learning rate is so small that nothing saturates meanwhile."""
    torch.manual_seed(0)
    x, y = torch.rand(batch, 1, 28, 28), torch.randint(10, (batch,))
    optimizer = analog_sgd(model.parameters(), lr=0.1 * LEARNING_RATE)
    for _ in range(3):  # beyond the batches that set input ranges
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.zero_grad()

    def run() -> None:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()

    return Local(run)


def prepare(
    case: NetworkCase,
    configs: Any,
    convert_to_analog: Callable[..., nn.Module],
    analog_sgd: Callable[..., torch.optim.Optimizer],
) -> Local:
    """The step of a case, with the toolkit that is given by its configuration classes, conversion and optimizer."""
    torch.manual_seed(1)
    return step(convert_to_analog(lenet(), build_config(configs, case)), case.batch, analog_sgd)
