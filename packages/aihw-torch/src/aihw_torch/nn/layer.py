"""What all analog layers share: a matrix on tiles, inside of the geometry of a layer of torch."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from aihw_torch import seeds
from aihw_torch.config import RPUConfigBase, SingleRPUConfig
from aihw_torch.errors import ConfigError, NonFiniteError, ShapeError
from aihw_torch.nn.base import AnalogLayerBase
from aihw_torch.tiles import TileGroups, default_tile_module_class

_MODULE_ATTRIBUTES = frozenset(vars(nn.Module()))
_draws_initial_values: ContextVar[bool] = ContextVar("draws_initial_values", default=True)


@contextmanager
def without_initial_values() -> Iterator[None]:
    """Make the layers inside of the block without drawing weights, which they get from elsewhere."""
    token = _draws_initial_values.set(False)
    try:
        yield
    finally:
        _draws_initial_values.reset(token)


def check_sizes(least: int = 1, **sizes: Any) -> None:
    """Raise `ShapeError` unless sizes are whole numbers of at least `least`, or tuples of them."""
    for name, given in sizes.items():
        for value in given if isinstance(given, (tuple, list)) else (given,):
            if isinstance(value, bool) or not hasattr(value, "__index__") or operator.index(value) < least:
                raise ShapeError(f"{name} must be a whole number of at least {least}, not {value!r}")


def check_bias(bias: Any) -> None:
    """Raise `ConfigError` for a configuration in the place of the bias, where it would count as true."""
    if isinstance(bias, RPUConfigBase):
        raise ConfigError(f"bias is a {type(bias).__name__}; give the configuration by name, rpu_config=...")


class AnalogLayer(AnalogLayerBase):
    """Base of the layers with one matrix: derived classes are also of the class `DIGITAL` of torch.

    Attributes:
        analog_module: the tile, grid of tiles or groups of tiles that hold the matrix.
        use_bias: whether there is a bias.
    """

    DIGITAL: ClassVar[type[nn.Module]]
    analog_module: Any

    def _build(
        self,
        twin: nn.Module,
        out_size: int,
        in_size: int,
        rpu_config: Any,
        tile_module_class: Any,
        seed: int | None,
        *,
        groups: int = 1,
        bias_on_tiles: bool = True,
    ) -> None:
        """Take the geometry of a layer of torch, make the tiles and draw the weights.

        Args:
            twin: a layer of torch without values (on the meta device).
            out_size: rows of the matrix, of all groups together.
            in_size: columns, of each group.
            rpu_config: what is simulated, `SingleRPUConfig()` by default.
            tile_module_class: the module that holds the matrix, None for what its size needs.
            seed: of all randomness of the tiles.
            groups: number of blocks of a block-diagonal matrix.
            bias_on_tiles: whether the tiles add the bias; otherwise it is a parameter of the layer.
        """
        nn.Module.__init__(self)  # not that of the layer of torch, which would make a weight of its own
        for name, value in vars(twin).items():
            if name not in _MODULE_ATTRIBUTES:
                setattr(self, name, value)
        rpu_config = SingleRPUConfig() if rpu_config is None else rpu_config
        if not isinstance(rpu_config, RPUConfigBase):
            given = rpu_config.__name__ if isinstance(rpu_config, type) else type(rpu_config).__name__
            raise ConfigError(f"rpu_config must be a configuration such as SingleRPUConfig(), not {given}")
        self.use_bias = getattr(twin, "bias", None) is not None
        self.rpu_config_name = type(rpu_config).__name__
        on_tiles = self.use_bias and bias_on_tiles
        if groups > 1:
            self.analog_module = TileGroups(
                out_size, in_size, rpu_config, on_tiles, groups, tile_module_class, seed=seed
            )
        else:
            make = tile_module_class or default_tile_module_class(rpu_config, out_size, in_size)
            self.analog_module = make(out_size, in_size, rpu_config, on_tiles, seed=seed)
        if self.use_bias and not bias_on_tiles:
            self._parameters["bias"] = nn.Parameter(torch.zeros_like(twin.bias, device="cpu"))  # type: ignore[arg-type]
        if _draws_initial_values.get():
            self.reset_parameters()

    def _digital(self) -> nn.Module:
        """Return a layer of torch with this geometry, with its initial values."""
        raise NotImplementedError

    def reset_parameters(self) -> None:
        """Draw new weights and biases as the layer of torch does and set them."""
        twin = self._digital()
        self.set_weights(twin.weight, getattr(twin, "bias", None))

    # ---- weights

    def _to_matrix(self, weight: Tensor) -> Tensor:
        """Return the matrix on the tiles, [out, in], of a weight as the layer of torch has it."""
        return weight

    def _from_matrix(self, matrix: Tensor) -> Tensor:
        """Return the weight as the layer of torch has it."""
        return matrix

    def set_weights(self, weight: Any, bias: Any = None, **options: Any) -> None:
        """Set the weights as far as the bounds of the devices allow, and the bias if it is given.

        Args:
            weight: in the shape that the layer of torch has, or with as many elements in that order.
            bias: in the shape that the layer of torch has.
            options: those of `TileModule.set_weights`.
        """
        weight = self._to_matrix(torch.as_tensor(weight, dtype=torch.float32, device="cpu").detach())
        own = self._parameters.get("bias")
        if own is None or bias is None:
            self.analog_module.set_weights(weight, bias, **options)
            return
        bias = torch.as_tensor(bias, dtype=torch.float32, device="cpu").detach()
        if bias.shape != own.shape:
            raise ShapeError(f"the bias has the shape {tuple(bias.shape)} instead of {tuple(own.shape)}")
        if not torch.isfinite(bias).all():
            raise NonFiniteError("the bias contains NaN or infinity and nothing was set")
        self.analog_module.set_weights(weight, None, **options)
        with torch.no_grad():
            own.copy_(bias)

    def get_weights(self, apply_weight_scaling: bool = True, realistic: bool = False) -> tuple[Tensor, Tensor | None]:
        """Return copies of the weights and of the bias or None, as the layer of torch has them.

        Args:
            apply_weight_scaling: whether to return the logical weights, or those in units of the arrays.
            realistic: whether to estimate them from noisy products; False reads without noise.
        """
        weight, bias = self.analog_module.get_weights(apply_weight_scaling, realistic)
        own = self._parameters.get("bias")
        return self._from_matrix(weight), bias if own is None else own.detach().clone()

    def _weight(self) -> Any:
        """The weight of the tile, a parameter (see `PulsedWeight`); of several tiles, the assembled matrix, a copy."""
        return self.analog_module.weight

    def _bias(self) -> Any:
        """The digital bias, a parameter; the column of an analog bias, a view without gradient; or None."""
        if "bias" in self._parameters:
            return self._parameters["bias"]
        if self.analog_module.analog_bias:
            return self.get_weights()[1]
        return self.analog_module.bias

    def _refuse(self, value: Any) -> None:
        raise ConfigError(
            f"the weight and bias of {type(self).__name__} are on its tiles and cannot be replaced; "
            "set their values with set_weights(weight, bias)"
        )

    # In the layers of torch these are attributes that can be set.
    weight: Any = property(_weight, _refuse)
    bias: Any = property(_bias, _refuse)

    def register_parameter(self, name: str, param: nn.Parameter | None) -> None:
        """Register a parameter as torch does, but none in place of what is on the tiles."""
        if name in ("weight", "bias") and name not in self._parameters:  # torch does not ask the property
            self._refuse(param)
        super().register_parameter(name, param)

    # ---- conversion

    @classmethod
    def _like(cls, digital: Any, rpu_config: Any, tile_module_class: Any) -> Self:
        """Return a layer with the geometry of a layer of torch."""
        raise NotImplementedError

    @classmethod
    def from_digital(cls, module: Any, rpu_config: Any = None, tile_module_class: Any = None) -> Self:
        """Return an analog layer with the geometry, values, data type and training mode of a layer of torch.

        Frozen parameters stay frozen. The seed of the tiles is a number of torch's generator (see `seeds.from_seed`).
        """
        with seeds.from_seed(None), without_initial_values():
            layer = cls._like(module, rpu_config, tile_module_class)
        bias = getattr(module, "bias", None)
        layer.set_weights(module.weight.detach(), None if bias is None else bias.detach())
        layer.to(module.weight.dtype)
        for parameter in layer.parameters():
            parameter.requires_grad_(module.weight.requires_grad)
        if bias is not None and isinstance(layer.bias, nn.Parameter):
            layer.bias.requires_grad_(bias.requires_grad)
        return layer.train(module.training)

    def to_digital(self, realistic: bool = False) -> Any:
        """Return the layer of torch with the logical weights, read without noise, or with it if `realistic`."""
        digital: Any = self._digital()
        weight, bias = self.get_weights(realistic=realistic)
        with torch.no_grad():
            digital.weight.copy_(weight.reshape(digital.weight.shape))
            if bias is not None:
                digital.bias.copy_(bias)
        tile = next(self.analog_tiles())
        return digital.to(tile.edge_dtype).train(self.training)

    def extra_repr(self) -> str:
        """Describe the layer in the representation of a model."""
        return f"{super().extra_repr()}, rpu_config={self.rpu_config_name}"
