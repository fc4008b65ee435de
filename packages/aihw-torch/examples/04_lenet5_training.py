"""LeNet-5 trained in memory with the second version of Tiki-Taka, beside the same network in floating point.

The preset gathers the gradient on one array of ECRAM devices, reads it column by column, adds the readings up
digitally, and writes whole steps to another array (doi:10.3389/frai.2021.699148). `build_config(algorithm, device)`
gives the configuration of any algorithm on any device; what converges within a few epochs depends on both.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import torch
from torch.utils.data import DataLoader

from aihw_torch.config import FloatingPointRPUConfig
from aihw_torch.experiments import command_line, digits, format_table, lenet5, train_epoch
from aihw_torch.inference import accuracy
from aihw_torch.nn import convert_to_analog
from aihw_torch.optim import AnalogSGD
from aihw_torch.presets import TTv2EcRamPreset


def train(config: Any, options: argparse.Namespace) -> tuple[float, float]:
    """Return the accuracy and the last loss of one training."""
    torch.manual_seed(options.seed)
    training, test = digits(options.size)
    model = convert_to_analog(lenet5(options.size), config)
    optimizer = AnalogSGD(model.parameters(), lr=options.lr)
    for _ in range(options.epochs):
        loss = train_epoch(model, optimizer, DataLoader(training, batch_size=10, shuffle=True))
    return accuracy(model.eval(), DataLoader(test, 100)), loss


def main(arguments: Sequence[str] | None = None) -> dict[str, float]:
    """Train with both kinds of weights, print a table, and return the accuracies."""
    options = command_line(__doc__, arguments, epochs=5, lr=0.1, size=(16, "height and width of the images"))

    configs = {"floating point": FloatingPointRPUConfig(), "TTv2": TTv2EcRamPreset()}
    rows = []
    for name, config in configs.items():
        right, loss = train(config, options)
        rows.append({"weights": name, "last loss": loss, "accuracy": right})
    print(format_table(rows))
    return {row["weights"]: row["accuracy"] for row in rows}


if __name__ == "__main__":
    main()
