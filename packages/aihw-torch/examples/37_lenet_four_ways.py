"""LeNet-5 learns handwritten digits in four ways on the same devices, beside floating point.

* pulsed SGD: every gradient becomes pulses on the weights themselves;
* Tiki-Taka: pulses gather the gradient on one array, which is read and written to another;
* mixed precision: the gradient is summed digitally, whole steps are written by pulses;
* hardware-aware: the weights are trained digitally through noisy converters and copies, then programmed.

One loop trains all of them; only the configuration differs.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import torch
from torch.utils.data import DataLoader

from aihw_torch.config import (
    FloatingPointRPUConfig,
    InferenceRPUConfig,
    IOParameters,
    SingleRPUConfig,
    TransferCompound,
    UnitCellRPUConfig,
    WeightModifierType,
    build_config,
)
from aihw_torch.experiments import command_line, digits, format_table, lenet5, train_epoch
from aihw_torch.inference import accuracy, drift_analog_weights
from aihw_torch.nn import convert_to_analog
from aihw_torch.optim import AnalogSGD
from aihw_torch.presets import EcRamPresetDevice
from aihw_torch.tiles import AnalogTile

DEVICE = EcRamPresetDevice()


def tiki_taka() -> UnitCellRPUConfig:
    """The gathering array is read through a converter of a small range, because its weights are small."""
    small = IOParameters(out_bound=1.0, out_noise=0.01)
    pair = [DEVICE, DEVICE]
    cell = TransferCompound(unit_cell_devices=pair, transfer_forward=small, scale_transfer_lr=False)
    return UnitCellRPUConfig(device=cell)


def hardware_aware() -> InferenceRPUConfig:
    """Weights mapped to the range of the devices, with noise in each forward pass of the training."""
    config = InferenceRPUConfig()
    config.mapping.weight_scaling_omega = 1.0
    config.modifier.type, config.modifier.std_dev = WeightModifierType.ADD_NORMAL, 0.1
    return config


def main(arguments: Sequence[str] | None = None) -> dict[str, float]:
    """Train in all ways, print a table, and return the accuracies."""
    options = command_line(__doc__, arguments, epochs=20, size=(16, "height and width of the images"))

    ways: dict[str, tuple[Any, float]] = {  # configuration and learning rate
        "floating point": (FloatingPointRPUConfig(), 0.1),
        "pulsed SGD": (SingleRPUConfig(device=DEVICE), 0.1),
        "Tiki-Taka": (tiki_taka(), 0.2),
        "mixed precision": (build_config("mixed-precision", DEVICE), 0.1),
        "hardware-aware": (hardware_aware(), 0.1),
    }
    rows = []
    for name, (config, lr) in ways.items():
        torch.manual_seed(options.seed)
        training, test = digits(options.size)
        loader, test_loader = DataLoader(training, batch_size=10, shuffle=True), DataLoader(test, 100)
        model = convert_to_analog(lenet5(options.size), config)
        optimizer = AnalogSGD(model.parameters(), lr=lr)
        start = time.process_time()
        for _ in range(options.epochs):
            train_epoch(model, optimizer, loader)
        seconds = (time.process_time() - start) / options.epochs
        model.eval()
        if name == "hardware-aware":
            drift_analog_weights(model, 86400.0)  # programmed, and read a day later
        pulses = sum(sum(tile.pulse_counts) for tile in model.analog_tiles() if isinstance(tile, AnalogTile))
        right = accuracy(model, test_loader)
        rows.append({"way": name, "lr": lr, "accuracy": right, "CPU s per epoch": seconds, "pulses": pulses})
    print(format_table(rows))
    return {row["way"]: row["accuracy"] for row in rows}


if __name__ == "__main__":
    main()
