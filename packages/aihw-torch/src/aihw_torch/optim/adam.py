"""Adam for the digital parameters of a model with pulsed tiles."""

from __future__ import annotations

from torch.optim import Adam

from aihw_torch.optim.analog import AnalogOptimizerMixin


class AnalogAdam(AnalogOptimizerMixin, Adam):
    """`torch.optim.Adam`, with the same arguments, for digital parameters; pulsed tiles get plain gradient steps.

    A crossbar has no memory for moments, so a tile is updated as by `AnalogSGD` with the learning rate of its group.
    """
