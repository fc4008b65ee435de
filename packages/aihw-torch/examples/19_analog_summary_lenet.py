"""What a LeNet is made of: tiles and how full they are, parameters, products per image, pulses."""

from __future__ import annotations

from collections.abc import Sequence

from aihw_torch.experiments import command_line, lenet5
from aihw_torch.nn import convert_to_analog
from aihw_torch.presets import EcRamPreset
from aihw_torch.utils.analog_info import AnalogInfo, analog_summary


def main(arguments: Sequence[str] | None = None) -> AnalogInfo:
    """Print the summary and return it."""
    command_line(__doc__, arguments)

    model = convert_to_analog(lenet5(), EcRamPreset())
    summary = analog_summary(model, (1, 1, 28, 28))
    print(summary)
    return summary


if __name__ == "__main__":
    main()
