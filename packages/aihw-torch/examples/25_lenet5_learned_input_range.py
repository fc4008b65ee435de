"""LeNet-5 trained hardware-aware with learned input ranges, then loaded into the standard preset and evaluated.

Each tile learns the range of its DAC by gradient; with `--per-sample` every sample of a batch sees its own noisy copy
of the weights, which costs a draw of all weights per sample. The weights and ranges then go into a model with
`StandardHWATrainingPreset`, whose converters differ: `load_rpu_config=False` keeps the configuration of the model that
loads.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import torch
from torch import nn
from torch.utils.data import DataLoader

from aihw_torch.config import (
    BoundManagementType,
    IOParameters,
    NoiseManagementType,
    TorchInferenceRPUConfig,
    WeightModifierType,
)
from aihw_torch.experiments import digits, format_table, lenet5
from aihw_torch.inference import accuracy, inference_tiles
from aihw_torch.nn import convert_to_analog
from aihw_torch.presets import StandardHWATrainingPreset


def configuration(per_sample: bool) -> TorchInferenceRPUConfig:
    """Static input ranges instead of a scale per vector: no noise management, no bound management."""
    forward = IOParameters(noise_management=NoiseManagementType.NONE, bound_management=BoundManagementType.NONE)
    config = TorchInferenceRPUConfig(forward=forward)
    config.mapping = StandardHWATrainingPreset().mapping  # the scales that a checkpoint holds
    config.pre_post.input_range.enable, config.pre_post.input_range.init_from_data = True, 20
    config.modifier.type, config.modifier.std_dev = WeightModifierType.ADD_NORMAL, 0.1
    config.modifier.per_batch_sample = per_sample
    return config


def main(arguments: Sequence[str] | None = None) -> tuple[float, float]:
    """Train, load into the preset, print ranges and accuracies, and return the latter."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--size", type=int, default=16, help="height and width of the images")
    parser.add_argument("--per-sample", action="store_true", help="a noisy copy of the weights for every sample")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    torch.manual_seed(options.seed)

    training, test = digits(options.size)
    model = convert_to_analog(lenet5(options.size), configuration(options.per_sample))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.002)
    for _ in range(options.epochs):
        for images, labels in DataLoader(training, batch_size=50, shuffle=True):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(images), labels).backward()
            optimizer.step()
    ranges = [{"tile": name, "input range": tile.input_range.item()} for name, tile in inference_tiles(model)]
    print(format_table(ranges))

    standard = convert_to_analog(lenet5(options.size), StandardHWATrainingPreset())
    standard.load_state_dict(model.state_dict(), load_rpu_config=False)
    trained = accuracy(model.eval(), DataLoader(test, 100))
    loaded = accuracy(standard.eval(), DataLoader(test, 100))
    print(f"accuracy as trained {trained:.4f}, in the standard preset {loaded:.4f}")
    return trained, loaded


if __name__ == "__main__":
    main()
