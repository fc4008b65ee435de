"""Train analog networks with different devices and compare them: see `--help`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from aihw_torch.config import (
    ConstantStepDevice,
    FloatingPointRPUConfig,
    IOParameters,
    SingleRPUConfig,
    SoftBoundsDevice,
    TransferCompound,
    UnitCellRPUConfig,
)
from aihw_torch.quickstart.digits import Result, train
from aihw_torch.quickstart.example import train_two_rows

# The devices with their defaults, on a range of weights that fits the task: soft bounds pull every weight that is
# pulsed towards zero, the harder the narrower the range.
CONFIGS: dict[str, Any] = {
    "floating point": FloatingPointRPUConfig(),
    "constant step": SingleRPUConfig(device=ConstantStepDevice(w_min=-1.0, w_max=1.0)),
    "soft bounds": SingleRPUConfig(device=SoftBoundsDevice(w_min=-1.0, w_max=1.0)),
}

# A sigmoid passes small gradients, and soft bounds pull weights back faster than these move them. Tiki-Taka gathers the
# gradient on one array and moves it to another: what the first array does by itself averages out. It reads the first
# array, whose weights are small, through a converter of a small range.
RESCUE_LR = 0.3
NARROW = SoftBoundsDevice()
SMALL_RANGE = IOParameters(out_bound=1.0, out_noise=0.01)
RESCUE_CONFIGS: dict[str, Any] = {
    "floating point": FloatingPointRPUConfig(),
    "soft bounds": SingleRPUConfig(device=NARROW),
    "Tiki-Taka": UnitCellRPUConfig(
        device=TransferCompound(
            unit_cell_devices=[NARROW, NARROW], transfer_forward=SMALL_RANGE, scale_transfer_lr=False
        )
    ),
}


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m aihw_torch.quickstart",
        description="Train one analog layer on two rows, then a 64-128-10 network on scikit-learn's handwritten "
        "digits: with floating-point weights, and by pulses on two devices; then with sigmoids, where plain pulses on "
        "soft bounds fail and Tiki-Taka does not. Prints tables and writes a figure.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--epochs", type=int, default=15, help="epochs of each training run")
    parser.add_argument("--lr", type=float, default=0.05, help="learning rate of the runs with tanh")
    parser.add_argument("--batch", type=int, default=10, help="samples of a mini-batch")
    parser.add_argument("--seed", type=int, default=0, help="seed of everything random: weights, devices, pulses")
    parser.add_argument("--output", type=Path, default=Path("results"), metavar="DIR", help="folder of the figure")
    parser.add_argument("--no-figure", action="store_true", help="draw nothing (then matplotlib is not needed)")
    options = parser.parse_args(arguments)
    if options.epochs < 1 or options.batch < 1 or not options.lr > 0.0:
        parser.error("--epochs and --batch must be at least 1 and --lr positive")
    return options


def print_table(results: Sequence[Result]) -> None:
    """Print one line for each run."""
    print(f"\n{'weights':14} {'accuracy':>9} {'vs. floating point':>19} {'s per epoch':>12} {'pulses fired':>14}")
    for result in results:
        difference = 100.0 * (result.accuracies[-1] - results[0].accuracies[-1])
        print(
            f"{result.name:14} {result.accuracies[-1]:9.1%} {difference:+12.1f} points {result.seconds:12.2f} "
            f"{result.pulses:14,}"
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the quickstart; return the exit status."""
    options = parse(arguments)
    torch.set_num_threads(1)  # matrices of this size gain nothing from more
    if not options.no_figure:
        from aihw_torch.quickstart.figure import draw  # early, so that a missing matplotlib is known before training

    print(f"torch.manual_seed({options.seed}) before each run: with the same seed the numbers come out the same.\n")
    torch.manual_seed(options.seed)
    losses = train_two_rows()
    print(f"One analog layer, two rows, ten steps: loss {losses[0]:.4f} -> {losses[-1]:.4f}\n")
    print(f"Digits, 64-128-10, tanh, learning rate {options.lr}, batches of {options.batch}:")
    results = [
        train(name, config, epochs=options.epochs, lr=options.lr, batch=options.batch, seed=options.seed)
        for name, config in CONFIGS.items()
    ]
    print_table(results)
    print(f"\nThe same with sigmoids, learning rate {RESCUE_LR}:")
    rescued = [
        train(
            name,
            config,
            epochs=options.epochs,
            lr=RESCUE_LR,
            batch=options.batch,
            seed=options.seed,
            activation=torch.nn.Sigmoid,
        )
        for name, config in RESCUE_CONFIGS.items()
    ]
    print_table(rescued)
    if not options.no_figure:
        options.output.mkdir(parents=True, exist_ok=True)
        path = options.output / "quickstart.png"
        draw(results, results[1:], path, options.seed)
        print(f"\nFigure: {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
