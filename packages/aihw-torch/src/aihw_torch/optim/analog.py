"""The step of a pulsed tile, added to an optimizer of torch."""

from __future__ import annotations

import math
import warnings
import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from aihw_torch.errors import NonFiniteError
from aihw_torch.parameters import PulsedParameter, PulsedWeight
from aihw_torch.tiles import AnalogTile
from aihw_torch.tiles.steps import check_gradients, gradient_norms, step_together

# What changes the direction or size of a step beyond the learning rate, in the optimizers of torch.
_DIGITAL_OPTIONS = ("momentum", "dampening", "nesterov", "weight_decay")


class AnalogOptimizerMixin(Optimizer):
    """Put before an optimizer class of torch: digital parameters follow that class, pulsed tiles are updated by pulses.

    Of its group a tile takes the learning rate (negative with `maximize`) and nothing else; the first step warns of
    the options that do not reach it. The group of a tile is that of its weight, or of its token where the optimizer has
    only the token. The step uses the record up and sets the token's gradient to None.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._warned = False
        self._tile_names: weakref.WeakKeyDictionary[nn.Module, str] = weakref.WeakKeyDictionary()
        self._add_missing_tokens()
        # Fused optimizers unscale gradients inside their kernel, out of reach of the tokens: let GradScaler do it.
        self._step_supports_amp_scaling = False

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # also part of load_state_dict
        self._warned, self._tile_names = False, weakref.WeakKeyDictionary()
        self._step_supports_amp_scaling = False

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group; the tokens of the weights in it come along."""
        super().add_param_group(param_group)
        if hasattr(self, "_warned"):  # not while torch's constructor adds the first groups one by one
            self._add_missing_tokens()

    def _add_missing_tokens(self) -> None:
        """Add the token of each weight that came without: what acts on the gradients of the groups has to find it."""
        present = {id(parameter) for group in self.param_groups for parameter in group["params"]}
        for group in self.param_groups:
            for position, parameter in enumerate(list(group["params"])):
                tile = parameter.analog_tile if isinstance(parameter, PulsedWeight) else None
                if tile is not None and id(tile.weight_token) not in present:
                    group["params"].append(tile.weight_token)
                    if "param_names" in group:
                        group["param_names"].append(f"{group['param_names'][position]}_token")

    def pulsed_tiles(self) -> list[tuple[AnalogTile, dict[str, Any]]]:
        """Return the tiles of this optimizer, each once, with the group that gives the learning rate."""
        found: dict[int, tuple[AnalogTile, dict[str, Any]]] = {}
        for group in self.param_groups:
            for parameter in group["params"]:
                tile = parameter.analog_tile if isinstance(parameter, PulsedParameter) else None
                if tile is not None and (id(tile) not in found or isinstance(parameter, PulsedWeight)):
                    found[id(tile)] = tile, group
        return list(found.values())

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Do one step: digital parameters first, then pulses, then the slow processes of the devices.

        Args:
            closure: evaluates the model again and returns the loss.

        Raises:
            NonFiniteError: the gradient of a tile is NaN or infinite; then nothing was updated.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        tiles = self.pulsed_tiles()
        norms = gradient_norms([tile for tile, _ in tiles])
        check_gradients([tile for tile, _ in tiles], norms)
        for _, group in tiles:
            if not math.isfinite(_pulse_lr(group)):
                raise NonFiniteError(f"the learning rate is {group['lr']} and nothing was updated")
        self._warn_once(tiles)
        gradients = [tile.weight_token.grad for tile, _ in tiles]
        for tile, _ in tiles:  # the digital optimizer passes over parameters without a gradient
            tile.weight_token.grad = None
        self._digital_step()
        for (tile, _), gradient in zip(tiles, gradients, strict=True):
            tile.weight_token.grad = gradient
        step_together([(tile, _pulse_lr(group)) for tile, group in tiles], norms)
        return loss

    def _digital_step(self) -> None:
        step = super().step
        # torch wraps the step of each class in the hooks; those of this optimizer run already around our own step.
        inner = getattr(step, "__wrapped__", None) if getattr(step, "hooked", False) else None
        step() if inner is None else inner(self)

    def _warn_once(self, tiles: list[tuple[AnalogTile, dict[str, Any]]]) -> None:
        if self._warned or not tiles:
            return
        self._warned = True
        missed = {
            option: [tile for tile, group in tiles if group.get(option)]
            for option in _DIGITAL_OPTIONS
            if any(group.get(option) for _, group in tiles)
        }
        advice = "put those into a parameter group without these options to silence this warning"
        if not isinstance(self, torch.optim.SGD):
            missed[f"the step rule of {self._digital_class().__name__}"] = [tile for tile, _ in tiles]
            advice = "those get plain gradient steps of the learning rate of their group"
        if not missed:
            return
        reached = sorted({self._name(tile) for found in missed.values() for tile in found})
        more = f" and {len(reached) - 4} more" if len(reached) > 4 else ""
        warnings.warn(
            f"only digital parameters follow {', '.join(missed)}, not the pulsed tiles {', '.join(reached[:4])}{more}; "
            f"{advice}",
            stacklevel=5,
        )

    def _digital_class(self) -> type[Optimizer]:
        bases = (base for base in type(self).__mro__ if not issubclass(base, AnalogOptimizerMixin))
        return next(base for base in bases if issubclass(base, Optimizer))

    def _name(self, tile: AnalogTile) -> str:
        """Return the name of a tile as far as it is known: from `named_parameters()` or from the model."""
        for group in self.param_groups:
            for name, parameter in zip(group.get("param_names", ()), group["params"], strict=False):
                if isinstance(parameter, PulsedParameter) and parameter.analog_tile is tile:
                    return str(name).rpartition(".")[0] or str(name)
        return self._tile_names.get(tile, tile.describe())

    def regroup_param_groups(self, *models: nn.Module) -> None:
        """Leave the groups and their learning rates as they are, and learn the names of the tiles for messages."""
        for model in models:
            self._tile_names.update({module: name for name, module in model.named_modules()})

    def set_learning_rate(self, learning_rate: float = 0.1) -> None:
        """Set the learning rate of all groups."""
        for group in self.param_groups:
            group["lr"] = learning_rate


def _pulse_lr(group: dict[str, Any]) -> float:
    lr = float(group["lr"])
    return -lr if group.get("maximize", False) else lr
