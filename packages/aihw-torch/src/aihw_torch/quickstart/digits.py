"""A network of two analog layers learns handwritten digits."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from tqdm import tqdm

from aihw_torch.experiments.data import digits
from aihw_torch.nn import AnalogLinear, AnalogSequential
from aihw_torch.optim import AnalogSGD
from aihw_torch.tiles import AnalogTile


@dataclass
class Result:
    """What a training run gives."""

    name: str
    config: Any
    losses: list[float] = field(default_factory=list)
    accuracies: list[float] = field(default_factory=list)
    seconds: float = 0.0
    pulses: int = 0


def build_network(config: Any, activation: type[nn.Module]) -> AnalogSequential:
    """Return the 64-128-10 network on tiles of one configuration."""
    return AnalogSequential(
        AnalogLinear(64, 128, rpu_config=config), activation(), AnalogLinear(128, 10, rpu_config=config)
    )


def train(
    name: str,
    config: Any,
    *,
    epochs: int,
    lr: float,
    batch: int,
    seed: int,
    activation: type[nn.Module] = nn.Tanh,
) -> Result:
    """Train a network by stochastic gradient descent and test it after each epoch."""
    torch.manual_seed(seed)
    try:
        training, test = digits(flat=True)
    except ImportError as error:
        raise SystemExit(str(error)) from error
    loader = DataLoader(training, batch_size=batch, shuffle=True)
    model = build_network(config, activation)
    optimizer = AnalogSGD(model.parameters(), lr=lr)
    result = Result(name, config)
    bar = tqdm(range(epochs), desc=f"{name:13}", unit="epoch")
    for _ in bar:
        start = time.perf_counter()
        result.losses.append(train_epoch(model, optimizer, loader))
        result.seconds += (time.perf_counter() - start) / epochs
        result.accuracies.append(accuracy(model, *test.tensors))
        bar.set_postfix(loss=f"{result.losses[-1]:.3f}", accuracy=f"{result.accuracies[-1]:.1%}")
    result.pulses = sum(sum(tile.pulse_counts) for tile in model.analog_tiles() if isinstance(tile, AnalogTile))
    return result


def train_epoch(model: nn.Module, optimizer: AnalogSGD, loader: DataLoader[Any]) -> float:
    """Train one epoch; return the mean loss."""
    model.train()
    total, count = 0.0, 0
    for x, y in loader:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        total += loss.item() * len(x)
        count += len(x)
    return total / count


@torch.no_grad()
def accuracy(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Return the fraction of test images that the network, with the noise of its read, gets right."""
    model.eval()
    return float((model(images).argmax(dim=1) == labels).float().mean())
