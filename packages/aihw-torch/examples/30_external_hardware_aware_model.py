"""A network trained elsewhere is imported, calibrated, programmed, and evaluated over time.

"Elsewhere" is a loop of plain torch below, which adds noise to the weights of a small residual network and saves its
state dict; a checkpoint of any other source does as well. The data are synthetic stripes in the place of CIFAR-10.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader

from aihw_torch.experiments import command_line, resnet, textures
from aihw_torch.inference import DriftTable, calibrate, evaluate_over_time, format_ranges
from aihw_torch.nn import convert_to_analog
from aihw_torch.presets import StandardHWATrainingPreset


def train_elsewhere(path: Path, options: argparse.Namespace) -> None:
    """Train with noise on the weights, without any analog layer, and save the state dict."""
    model = resnet((1, 1), options.width)
    weights = [p for p in model.parameters() if p.dim() > 1]
    optimizer = torch.optim.Adam(model.parameters(), lr=0.005)
    for _ in range(options.epochs):
        for images, labels in DataLoader(textures(options.samples, seed=0), batch_size=20, shuffle=True):
            noise = [0.05 * w.detach().abs().max() * torch.randn_like(w) for w in weights]
            torch._foreach_add_([w.data for w in weights], noise)
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(images), labels).backward()
            torch._foreach_sub_([w.data for w in weights], noise)
            optimizer.step()
    torch.save(model.state_dict(), path)


def main(arguments: Sequence[str] | None = None) -> DriftTable:
    """Train, import, calibrate, print the accuracy over time, and return the table."""
    options = command_line(
        __doc__, arguments, epochs=8, samples=1000, width=(8, "channels of the first stage"), chips=5
    )

    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder) / "model.pt"
        train_elsewhere(checkpoint, options)
        digital = resnet((1, 1), options.width)
        digital.load_state_dict(torch.load(checkpoint, weights_only=True))
    model = convert_to_analog(digital, StandardHWATrainingPreset()).eval()
    few = max(50, options.samples // 5)  # images to calibrate and to test with
    print(format_ranges(calibrate(model, DataLoader(textures(few, seed=0), 100))), "\n")
    times = [1.0, 86400.0, 31536000.0]
    table = evaluate_over_time(model, [textures(few, seed=1).tensors], times, options.chips, seed=options.seed)
    print(table)
    return table


if __name__ == "__main__":
    main()
