"""LeNet-5 trained hardware-aware with learned input ranges, then loaded into the standard preset and evaluated.

Each tile learns the range of its DAC by gradient; with `--per-sample` every sample of a batch sees its own noisy copy
of the weights, which costs a draw of all weights per sample. The weights and ranges then go into a model with
`StandardHWATrainingPreset`, whose converters differ: `load_rpu_config=False` keeps the configuration of the model that
loads.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.utils.data import DataLoader

from aihw_torch.config import (
    BoundManagementType,
    IOParameters,
    NoiseManagementType,
    TorchInferenceRPUConfig,
    WeightModifierType,
)
from aihw_torch.experiments import command_line, digits, format_table, lenet5, train_epoch
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
    options = command_line(
        __doc__,
        arguments,
        epochs=10,
        size=(16, "height and width of the images"),
        per_sample=(False, "a noisy copy of the weights for every sample"),
    )

    training, test = digits(options.size)
    model = convert_to_analog(lenet5(options.size), configuration(options.per_sample))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.002)
    for _ in range(options.epochs):
        train_epoch(model, optimizer, DataLoader(training, batch_size=50, shuffle=True))
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
