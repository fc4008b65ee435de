"""Loops of training that the examples share."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer


def train_epoch(
    model: nn.Module,
    optimizer: Optimizer,
    loader: Iterable[Any],
    loss_function: Callable[[Tensor, Tensor], Tensor] = nn.functional.cross_entropy,
    after_batch: Callable[[int, float], Any] | None = None,
) -> float:
    """Train once through the batches (input, target) of a loader, in training mode; return the last loss.

    Args:
        model: any model, digital or analog.
        optimizer: of its parameters.
        loader: gives at least one batch.
        loss_function: (output, target) -> the mean loss of a batch.
        after_batch: called with the number of samples and the sum of their losses after each step.
    """
    model.train()
    mean = float("nan")
    for inputs, targets in loader:
        optimizer.zero_grad()
        loss = loss_function(model(inputs), targets)
        loss.backward()
        optimizer.step()
        mean = loss.item()
        if after_batch is not None:
            after_batch(len(targets), mean * len(targets))
    return mean


def two_rows() -> tuple[Tensor, Tensor]:
    """Return the two inputs [2, 4] and targets [2, 2] of the smallest examples."""
    x = torch.tensor([[0.1, 0.2, 0.4, 0.3], [0.2, 0.1, 0.1, 0.3]])
    return x, torch.tensor([[1.0, 0.5], [0.7, 0.3]])


def learn_two_rows(model: nn.Module, optimizer: Optimizer, steps: int, show: int = 0) -> list[float]:
    """Train a model on `two_rows`; return the loss before each step.

    Args:
        model: takes 4 inputs and gives 2 outputs.
        optimizer: of its parameters.
        steps: number of steps.
        show: print the loss every so many steps and in the end; 0 prints nothing.
    """
    batch = [two_rows()]
    losses = []
    for step in range(steps):
        losses.append(train_epoch(model, optimizer, batch, nn.functional.mse_loss))
        if show and step % show == 0:
            print(f"step {step:3}  loss {losses[-1]:.5f}")
    if show:
        print(f"final loss {losses[-1]:.5f}")
    return losses
