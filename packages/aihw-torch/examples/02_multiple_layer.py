"""Three analog layers in an `nn.Sequential`: the backward pass goes through the noisy arrays as well."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from aihw_torch.config import ConstantStepDevice, SingleRPUConfig
from aihw_torch.experiments import command_line, learn_two_rows
from aihw_torch.nn import AnalogLinear
from aihw_torch.optim import AnalogSGD


def main(arguments: Sequence[str] | None = None) -> list[float]:
    """Train, print the loss, and return it of every step."""
    options = command_line(__doc__, arguments, steps=200)

    config = SingleRPUConfig(device=ConstantStepDevice())
    model = nn.Sequential(
        AnalogLinear(4, 3, rpu_config=config),
        AnalogLinear(3, 3, rpu_config=config),
        AnalogLinear(3, 2, rpu_config=config),
    )
    return learn_two_rows(model, AnalogSGD(model.parameters(), lr=0.1), options.steps, show=20)


if __name__ == "__main__":
    main()
