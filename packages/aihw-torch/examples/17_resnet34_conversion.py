"""A ResNet-34 with random weights is converted, and the report says what became of each layer.

Convolutions and linear layers move to tiles, norms stay digital; a matrix with more than 512 inputs or outputs is cut
into a grid of tiles. Any model of torch can be converted, such as those of torchvision.
"""

from __future__ import annotations

from collections.abc import Sequence

from aihw_torch.experiments import command_line, resnet
from aihw_torch.nn import ConversionReport, convert_to_analog
from aihw_torch.presets import TikiTakaReRamSBPreset
from aihw_torch.utils.analog_info import AnalogInfo, analog_summary


def main(arguments: Sequence[str] | None = None) -> AnalogInfo:
    """Convert, print the report and the tiles, and return the summary."""
    options = command_line(
        __doc__,
        arguments,
        blocks=([3, 4, 6, 3], "residual blocks of the stages"),
        width=(64, "channels of the first stage"),
    )

    digital = resnet(options.blocks, options.width, classes=100)
    report = ConversionReport()
    model = convert_to_analog(digital, TikiTakaReRamSBPreset(), report=report, inplace=True)
    print(report, "\n")
    summary = analog_summary(model, (1, 3, 32, 32))
    print(summary)
    return summary


if __name__ == "__main__":
    main()
