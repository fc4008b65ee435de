"""LeNet-5 trained hardware-aware, then programmed into many chips that drift for a year.

Clip, remap and a noisy copy of the weights in every forward pass; converters of 8 bits. `evaluate_over_time` programs
`--chips` chips and evaluates each at every time, with standard errors over the chips.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.utils.data import DataLoader

from aihw_torch.config import InferenceRPUConfig, IOParameters, WeightClipType, WeightModifierType, WeightRemapType
from aihw_torch.experiments import command_line, digits, lenet5, train_epoch
from aihw_torch.inference import DriftTable, evaluate_over_time
from aihw_torch.nn import convert_to_analog

TIMES = (1.0, 3600.0, 86400.0, 2592000.0, 31536000.0)  # 1 s, 1 h, 1 day, 1 month, 1 year


def configuration() -> InferenceRPUConfig:
    """Return what is simulated: phase-change memory with global compensation is the default."""
    config = InferenceRPUConfig(forward=IOParameters(inp_res=254, out_res=254, out_bound=10.0, out_noise=0.04))
    config.mapping.weight_scaling_omega = 1.0
    config.mapping.weight_scaling_columnwise = True
    config.clip.type, config.clip.sigma = WeightClipType.LAYER_GAUSSIAN, 2.5
    config.remap.type = WeightRemapType.CHANNELWISE_SYMMETRIC
    config.modifier.type, config.modifier.std_dev = WeightModifierType.ADD_NORMAL, 0.1
    return config


def main(arguments: Sequence[str] | None = None) -> DriftTable:
    """Train, print the accuracy over time, and return the table."""
    options = command_line(__doc__, arguments, epochs=15, size=(16, "height and width of the images"), chips=5)

    training, test = digits(options.size)
    model = convert_to_analog(lenet5(options.size), configuration())
    optimizer = torch.optim.Adam(model.parameters(), lr=0.002)
    for _ in range(options.epochs):
        train_epoch(model, optimizer, DataLoader(training, batch_size=50, shuffle=True))
    table = evaluate_over_time(model.eval(), [test.tensors], TIMES, options.chips, seed=options.seed)
    print(table)
    return table


if __name__ == "__main__":
    main()
