"""Stochastic gradient descent by pulses."""

from __future__ import annotations

from torch.optim import SGD

from aihw_torch.optim.analog import AnalogOptimizerMixin


class AnalogSGD(AnalogOptimizerMixin, SGD):
    """`torch.optim.SGD`, with the same arguments, that also trains pulsed tiles."""
