"""LeNet-5 trained in memory with AGAD, beside the same network in floating point.

`build_config(algorithm, device)` gives the configuration of a learning algorithm on a device: here "agad", which finds
out where each device's symmetry point is while it trains, so that the reference may be wrong
(doi:10.1038/s41467-024-51221-z).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader

from aihw_torch.config import FloatingPointRPUConfig, SoftBoundsReferenceDevice, build_config
from aihw_torch.experiments import digits, format_table, lenet5
from aihw_torch.inference import accuracy
from aihw_torch.nn import convert_to_analog
from aihw_torch.optim import AnalogSGD


def train(config: Any, options: argparse.Namespace) -> tuple[float, float]:
    """Return the accuracy and the last loss of one training."""
    torch.manual_seed(options.seed)
    training, test = digits(options.size)
    model = convert_to_analog(lenet5(options.size), config)
    optimizer = AnalogSGD(model.parameters(), lr=options.lr)
    for _ in range(options.epochs):
        for images, labels in DataLoader(training, batch_size=10, shuffle=True):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(images), labels)
            loss.backward()
            optimizer.step()
    return accuracy(model.eval(), DataLoader(test, 100)), loss.item()


def main(arguments: Sequence[str] | None = None) -> dict[str, float]:
    """Train with both kinds of weights, print a table, and return the accuracies."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--lr", type=float, default=0.05)
    parser.add_argument("--size", type=int, default=16, help="height and width of the images")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)

    device = SoftBoundsReferenceDevice(dw_min=0.002, subtract_symmetry_point=True, reference_std=0.05)
    agad = build_config("agad", device)
    agad.device.transfer_every = 10  # samples, which are patches in a convolution; the default is 1
    configs = {"floating point": FloatingPointRPUConfig(), "AGAD": agad}
    rows = []
    for name, config in configs.items():
        right, loss = train(config, options)
        rows.append({"weights": name, "last loss": loss, "accuracy": right})
    print(format_table(rows))
    return {row["weights"]: row["accuracy"] for row in rows}


if __name__ == "__main__":
    main()
