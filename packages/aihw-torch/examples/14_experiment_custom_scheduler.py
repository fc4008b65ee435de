"""An experiment with a method replaced: a learning rate that falls, and a hook that watches it.

`train` is one of the methods of `BasicTraining` that a subclass may override; hooks add to the results of an epoch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import StepLR

from aihw_torch.config import ConstantStepDevice, SingleRPUConfig
from aihw_torch.experiments import BasicTraining, Digits, LocalRunner, Signals, command_line, format_table
from aihw_torch.nn import convert_to_analog


class ScheduledTraining(BasicTraining):
    """`BasicTraining` whose learning rate is halved every few epochs."""

    def get_optimizer(self, learning_rate: float, model: nn.Module) -> Optimizer:
        """Make a scheduler for the optimizer, and let it step at the end of each epoch."""
        optimizer = super().get_optimizer(learning_rate, model)
        scheduler = StepLR(optimizer, step_size=3, gamma=0.5)

        def step() -> dict[str, Any]:
            (rate,) = scheduler.get_last_lr()
            scheduler.step()
            return {"lr": rate}

        self.add_hook(Signals.EPOCH_END, step)
        return optimizer


def main(arguments: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """Run the experiment, print its results, and return them."""
    options = command_line(__doc__, arguments, epochs=10, samples=(0, "most training samples, 0 for all"))

    digital = nn.Sequential(nn.Flatten(), nn.Linear(64, 128), nn.Tanh(), nn.Linear(128, 10), nn.LogSoftmax(dim=1))
    model = convert_to_analog(digital, SingleRPUConfig(device=ConstantStepDevice(w_min=-1.0, w_max=1.0)))
    experiment = ScheduledTraining(Digits, model, batch_size=10, epochs=options.epochs, learning_rate=0.1)
    results = LocalRunner().run(experiment, max_elements_train=options.samples)
    print(format_table(results))
    return results


if __name__ == "__main__":
    main()
