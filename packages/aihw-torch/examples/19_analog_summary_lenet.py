"""What a LeNet is made of: tiles and how full they are, parameters, products per image, pulses."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import torch

from aihw_torch.experiments import lenet5
from aihw_torch.nn import convert_to_analog
from aihw_torch.presets import EcRamPreset
from aihw_torch.utils.analog_info import AnalogInfo, analog_summary


def main(arguments: Sequence[str] | None = None) -> AnalogInfo:
    """Print the summary and return it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    torch.manual_seed(options.seed)

    model = convert_to_analog(lenet5(), EcRamPreset())
    summary = analog_summary(model, (1, 1, 28, 28))
    print(summary)
    return summary


if __name__ == "__main__":
    main()
