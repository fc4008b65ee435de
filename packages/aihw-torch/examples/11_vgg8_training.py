"""A VGG with eight layers, trained by pulses on coloured images, with weights mapped to the range of the devices.

Weight scaling (`mapping.weight_scaling_omega`) lets the initial weights of wide layers use the whole range of the
devices; a digital scale gives them back their size, and a learning rate means the same as without. The images are
synthetic stripes in the place of SVHN, which would have to be downloaded.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn
from torch.utils.data import DataLoader

from aihw_torch.config import MappingParameter
from aihw_torch.experiments import command_line, format_table, textures, train_epoch
from aihw_torch.inference import accuracy
from aihw_torch.nn import convert_to_analog
from aihw_torch.optim import AnalogSGD
from aihw_torch.presets import GokmenVlasovPreset


def vgg8(width: int) -> nn.Sequential:
    """Six convolutions in three stages, then two layers."""
    layers: list[nn.Module] = []
    channels = 3
    for outputs in (width, 2 * width, 4 * width):
        for _ in range(2):
            layers += [nn.Conv2d(channels, outputs, 3, padding=1), nn.ReLU()]
            channels = outputs
        layers += [nn.BatchNorm2d(outputs), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(64 * width, 8 * width), nn.ReLU(), nn.Linear(8 * width, 10))


def main(arguments: Sequence[str] | None = None) -> float:
    """Train, print a table, and return the accuracy."""
    options = command_line(
        __doc__, arguments, epochs=8, samples=1000, width=(8, "channels of the first stage (48 in the paper's network)")
    )

    training, test = textures(options.samples, seed=0), textures(200, seed=1)
    mapping = MappingParameter(weight_scaling_omega=0.6, weight_scaling_columnwise=True)
    model = convert_to_analog(vgg8(options.width), GokmenVlasovPreset(mapping=mapping))
    optimizer = AnalogSGD(model.parameters(), lr=0.05)
    rows = []
    for epoch in range(options.epochs):
        loss = train_epoch(model, optimizer, DataLoader(training, batch_size=20, shuffle=True))
        right = accuracy(model.eval(), DataLoader(test, 100))
        rows.append({"epoch": epoch, "last loss": loss, "accuracy": right})
    print(format_table(rows))
    return float(rows[-1]["accuracy"])


if __name__ == "__main__":
    main()
