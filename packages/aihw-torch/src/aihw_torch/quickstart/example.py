"""The example that everybody knows: one analog layer learns two rows."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import mse_loss

from aihw_torch.nn import AnalogLinear
from aihw_torch.optim import AnalogSGD


def train_two_rows(steps: int = 10) -> list[float]:
    """Train a 4 x 2 layer by pulses; return the loss before each step."""
    x = Tensor([[0.1, 0.2, 0.4, 0.3], [0.2, 0.1, 0.1, 0.3]])
    y = Tensor([[1.0, 0.5], [0.7, 0.3]])

    model = AnalogLinear(4, 2)
    opt = AnalogSGD(model.parameters(), lr=0.1)
    opt.regroup_param_groups(model)

    losses = []
    for _ in range(steps):
        opt.zero_grad()
        loss = mse_loss(model(x), y)
        loss.backward()
        opt.step()
        losses.append(loss.item())
    return losses
