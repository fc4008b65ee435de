"""Optimizers that train pulsed tiles and digital parameters together."""

from __future__ import annotations

from aihw_torch.optim.adam import AnalogAdam
from aihw_torch.optim.analog import AnalogOptimizerMixin
from aihw_torch.optim.guard import watch_optimizers
from aihw_torch.optim.sgd import AnalogSGD
from aihw_torch.optim.wrapper import AnalogOptimizer

__all__ = ["AnalogAdam", "AnalogOptimizer", "AnalogOptimizerMixin", "AnalogSGD"]

watch_optimizers()
