"""Input ranges of a network that was trained without: three strategies of calibration, and none.

The digital network is converted with converters of 6 bits and a range that is far too large, so that the inputs of each
layer use a few levels of the DAC only. `calibrate` sets ranges and returns how the signals then use the converters.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch.utils.data import DataLoader

from aihw_torch.config import InferenceRPUConfig, IOParameters, NoiseManagementType
from aihw_torch.experiments import command_line, digits, format_table, lenet5, train_epoch
from aihw_torch.inference import InputRangeCalibrationType, accuracy, calibrate, format_ranges
from aihw_torch.nn import convert_to_analog


def main(arguments: Sequence[str] | None = None) -> dict[str, float]:
    """Train digitally, calibrate in all ways, print a table, and return the accuracies."""
    options = command_line(__doc__, arguments, epochs=10, size=(16, "height and width of the images"))

    training, test = digits(options.size)
    digital = lenet5(options.size)
    optimizer = torch.optim.Adam(digital.parameters(), lr=0.002)
    for _ in range(options.epochs):
        train_epoch(digital, optimizer, DataLoader(training, batch_size=50, shuffle=True))

    forward = IOParameters(
        inp_res=62, out_res=254, out_noise=0.04, out_bound=10.0, noise_management=NoiseManagementType.NONE
    )
    config = InferenceRPUConfig(forward=forward)
    config.mapping.weight_scaling_omega, config.mapping.weight_scaling_columnwise = 1.0, True
    config.pre_post.input_range.enable, config.pre_post.input_range.init_value = True, 50.0
    analog = convert_to_analog(digital, config).eval()
    data = DataLoader(training, batch_size=100)
    found = {"digital": accuracy(digital.eval(), [test.tensors]), "not calibrated": accuracy(analog, [test.tensors])}
    for kind in ("MAX", "CACHE_QUANTILE", "MOVING_STD"):
        model = copy.deepcopy(analog)
        ranges = calibrate(model, data, InputRangeCalibrationType[kind])
        found[kind] = accuracy(model, [test.tensors])
    print(format_ranges(ranges), "\n")  # of the last one
    print(format_table([{"input ranges": name, "accuracy": value} for name, value in found.items()]))
    return found


if __name__ == "__main__":
    main()
