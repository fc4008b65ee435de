"""Any optimizer of torch for the digital parameters of a model with pulsed tiles."""

from __future__ import annotations

import functools
from typing import Any

from torch.optim import LBFGS, Optimizer

from aihw_torch.errors import OptimizerError
from aihw_torch.optim.analog import AnalogOptimizerMixin


class AnalogOptimizer(AnalogOptimizerMixin):
    """`AnalogOptimizer(torch.optim.AdamW, params, lr=0.01)`: AdamW for digital parameters, pulses for tiles.

    The result is also an instance of the class that was given. A tile gets plain gradient steps with the learning rate
    of its group, whatever that class does.

    Args:
        optimizer_cls: the class of the digital optimizer.
        args, kwargs: its arguments.

    Raises:
        OptimizerError: for `LBFGS`, which evaluates the model several times in one step.
    """

    optimizer_cls: type[Optimizer]

    def __new__(cls, optimizer_cls: type[Optimizer], *args: Any, **kwargs: Any) -> AnalogOptimizer:
        """Return an optimizer of a class that is derived from both."""
        if issubclass(optimizer_cls, LBFGS):
            raise OptimizerError("LBFGS evaluates the model several times in one step, which pulses cannot take back")
        return _new(optimizer_cls)

    def __init__(self, optimizer_cls: type[Optimizer], *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)

    def __reduce_ex__(self, protocol: object) -> tuple[Any, ...]:
        return _new, (self.optimizer_cls,), self.__getstate__()


@functools.cache  # by the class itself, so that classes of the same name do not meet
def _analog_class(optimizer_cls: type[Optimizer]) -> type[AnalogOptimizer]:
    name = f"AnalogOptimizer{optimizer_cls.__name__}"
    return type(name, (AnalogOptimizer, optimizer_cls), {"optimizer_cls": optimizer_cls})


def _new(optimizer_cls: type[Optimizer]) -> AnalogOptimizer:
    cls = _analog_class(optimizer_cls)  # type: ignore[arg-type]
    optimizer: AnalogOptimizer = object.__new__(cls)
    return optimizer
