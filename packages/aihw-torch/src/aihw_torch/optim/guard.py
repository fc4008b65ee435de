"""Torch's own optimizers cannot train a pulsed tile; here they are told so."""

from __future__ import annotations

from typing import Any

from torch.optim import LBFGS, Optimizer
from torch.optim.optimizer import register_optimizer_step_pre_hook

from aihw_torch.errors import OptimizerError
from aihw_torch.optim.analog import AnalogOptimizerMixin
from aihw_torch.parameters import PulsedParameter


def _refuse_pulsed_parameters(optimizer: Optimizer, args: Any, kwargs: Any) -> None:
    if isinstance(optimizer, AnalogOptimizerMixin):
        return
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if not isinstance(parameter, PulsedParameter):
                continue
            tile = parameter.analog_tile
            if tile is not None and (tile.weight_token.requires_grad or tile.weight_token.grad is not None):
                name = type(optimizer).__name__
                wrapped = "" if isinstance(optimizer, LBFGS) else f" or AnalogOptimizer({name}, ...)"
                raise OptimizerError(
                    f"{name} cannot train the {tile.describe()}, which learns by pulses; use AnalogSGD{wrapped} of "
                    "aihw_torch.optim, or freeze the tile with requires_grad_(False)"
                )


def watch_optimizers() -> None:
    """Check every step of every optimizer, before it changes anything."""
    register_optimizer_step_pre_hook(_refuse_pulsed_parameters)
