"""An experiment in one object: a network of three layers, a data set class, and a runner.

`BasicTraining` holds what a training needs, `LocalRunner` runs it and returns one dict per epoch. Any data set class
with the constructor of torchvision's works, such as `FashionMNIST`; `Digits` needs no download.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from aihw_torch.config import ConstantStepDevice, SingleRPUConfig
from aihw_torch.experiments import BasicTraining, Digits, LocalRunner, command_line, format_table
from aihw_torch.nn import AnalogLinear, AnalogSequential


def main(arguments: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """Run the experiment, print its results, and return them."""
    options = command_line(__doc__, arguments, epochs=10, samples=(0, "most training samples, 0 for all"))

    config = SingleRPUConfig(device=ConstantStepDevice(w_min=-1.0, w_max=1.0))
    model = AnalogSequential(
        nn.Flatten(),
        AnalogLinear(64, 128, rpu_config=config),
        nn.Tanh(),
        AnalogLinear(128, 64, rpu_config=config),
        nn.Tanh(),
        AnalogLinear(64, 10, rpu_config=config),
        nn.LogSoftmax(dim=1),
    )
    experiment = BasicTraining(Digits, model, batch_size=10, epochs=options.epochs, learning_rate=0.05)
    results = LocalRunner().run(experiment, max_elements_train=options.samples)
    print(format_table(results))
    return results


if __name__ == "__main__":
    main()
