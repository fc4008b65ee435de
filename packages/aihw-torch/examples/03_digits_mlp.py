"""A network of three layers and sigmoids learns handwritten digits by pulses, with a schedule of the learning rate.

Any scheduler of torch works: a tile takes the learning rate of its parameter group at every step. (The topic of MNIST
in other toolkits; scikit-learn's 8 x 8 digits need no download.)
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn
from torch.optim.lr_scheduler import StepLR
from torch.utils.data import DataLoader

from aihw_torch.config import ConstantStepDevice, SingleRPUConfig
from aihw_torch.experiments import command_line, digits, format_table
from aihw_torch.inference import accuracy
from aihw_torch.nn import AnalogLinear, AnalogSequential
from aihw_torch.optim import AnalogSGD


def main(arguments: Sequence[str] | None = None) -> float:
    """Train, print a table, and return the accuracy."""
    options = command_line(__doc__, arguments, epochs=20)

    training, test = digits(flat=True)
    loader = DataLoader(training, batch_size=8, shuffle=True)
    config = SingleRPUConfig(device=ConstantStepDevice(w_min=-1.0, w_max=1.0))
    model = AnalogSequential(
        AnalogLinear(64, 128, rpu_config=config),
        nn.Sigmoid(),
        AnalogLinear(128, 64, rpu_config=config),
        nn.Sigmoid(),
        AnalogLinear(64, 10, rpu_config=config),
        nn.LogSoftmax(dim=1),
    )
    optimizer = AnalogSGD(model.parameters(), lr=0.3)
    scheduler = StepLR(optimizer, step_size=max(1, options.epochs // 2), gamma=0.5)
    rows = []
    for epoch in range(options.epochs):
        model.train()
        rate = scheduler.get_last_lr()[0]
        for images, labels in loader:
            optimizer.zero_grad()
            loss = nn.functional.nll_loss(model(images), labels)
            loss.backward()
            optimizer.step()
        scheduler.step()
        model.eval()
        rows.append({"epoch": epoch, "lr": rate, "last loss": loss.item(), "accuracy": accuracy(model, [test.tensors])})
    print(format_table(rows))
    return float(rows[-1]["accuracy"])


if __name__ == "__main__":
    main()
