"""The analog linear layer."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from aihw_torch.config import SingleRPUConfig
from aihw_torch.nn.base import AnalogLayerBase
from aihw_torch.tiles import default_tile_module_class


class AnalogLinear(AnalogLayerBase, nn.Linear):
    """`torch.nn.Linear` on one or several tiles.

    It starts from the weights that `torch.nn.Linear` would draw from the same random state, as far as the bounds of the
    devices allow.

    Args:
        in_features: size of each input sample.
        out_features: size of each output sample.
        bias: whether to add a bias (digital unless `mapping.digital_bias=False`).
        rpu_config: what is simulated. The default is `SingleRPUConfig()`, an array of `ConstantStepDevice` that is
            trained by pulses, and not an ideal one.
        tile_module_class: the module that holds the matrix; by default one `AnalogTile`, or a `TileModuleArray` where
            the matrix is larger than `mapping.max_input_size` and `mapping.max_output_size` allow.
        seed: of all randomness of the layer's tiles; by default it follows torch's random state.

    Attributes:
        analog_module: the tile, or the grid of tiles.
    """

    analog_module: Any

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        rpu_config: Any = None,
        tile_module_class: Any = None,
        *,
        seed: int | None = None,
    ) -> None:
        nn.Module.__init__(self)  # not Linear's, which would make a weight of its own
        self.in_features, self.out_features = in_features, out_features
        rpu_config = SingleRPUConfig() if rpu_config is None else rpu_config
        if tile_module_class is None:
            tile_module_class = default_tile_module_class(rpu_config, out_features, in_features)
        self.analog_module = tile_module_class(out_features, in_features, rpu_config, bias, seed=seed)
        self.use_bias = bias
        self.rpu_config_name = type(rpu_config).__name__
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new weights and biases as `torch.nn.Linear` does and set them."""
        twin = nn.Linear(self.in_features, self.out_features, self.use_bias, device="cpu", dtype=torch.float32)
        self.set_weights(twin.weight, twin.bias)

    def forward(self, input: Tensor) -> Tensor:
        """Return the outputs [..., out_features] of the inputs [..., in_features], both float32."""
        output: Tensor = self.analog_module(input)
        return output

    @property
    def weight(self) -> Any:  # type: ignore[override]
        """The array of the tile, a parameter (see `PulsedWeight`); of a grid, the assembled matrix, a copy."""
        return self.analog_module.weight

    @property
    def bias(self) -> Any:  # type: ignore[override]
        """The digital bias, a parameter; the column of an analog bias, a view without gradient; or None."""
        if self.analog_module.analog_bias:
            return self.analog_module.weight.data[:, -1]
        return self.analog_module.bias

    def set_weights(self, weight: Any, bias: Any = None) -> None:
        """Set the weights [out, in] as far as the bounds of the devices allow, and the bias [out] if it is given."""
        self.analog_module.set_weights(weight, bias)

    def get_weights(self) -> tuple[Tensor, Tensor | None]:
        """Return copies of the weights [out, in] and of the bias [out] or None, read without noise."""
        weights: tuple[Tensor, Tensor | None] = self.analog_module.get_weights()
        return weights

    def extra_repr(self) -> str:
        """Describe the layer in the representation of a model."""
        return f"{super().extra_repr()}, rpu_config={self.rpu_config_name}"
