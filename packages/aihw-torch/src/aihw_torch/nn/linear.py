"""The analog linear layer."""

from __future__ import annotations

from typing import Any, Self

from torch import Tensor, nn

from aihw_torch.nn.layer import AnalogLayer, check_bias, check_sizes


class AnalogLinear(AnalogLayer, nn.Linear):
    """`torch.nn.Linear` on one or several tiles.

    It starts from the weights that `torch.nn.Linear` would draw from the same random state, as far as the bounds of the
    devices allow.

    Args:
        in_features: size of each input sample.
        out_features: size of each output sample.
        bias: whether to add a bias (digital unless `mapping.digital_bias=False`).
        rpu_config: what is simulated. The default is `SingleRPUConfig()`, an array of `ConstantStepDevice` that is
            trained by pulses, and not an ideal one.
        tile_module_class: the module that holds the matrix; by default the tile that the configuration asks for, or a
            `TileModuleArray` where the matrix is larger than `mapping.max_input_size` and `mapping.max_output_size`
            allow.
        seed: of all randomness of the layer's tiles; by default it follows torch's random state.

    Attributes:
        analog_module: the tile, or the grid of tiles.
    """

    DIGITAL = nn.Linear

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
        check_sizes(in_features=in_features, out_features=out_features)
        check_bias(bias)
        twin = nn.Linear(in_features, out_features, bias, device="meta")
        self._build(twin, out_features, in_features, rpu_config, tile_module_class, seed)

    def _digital(self) -> nn.Linear:
        return nn.Linear(self.in_features, self.out_features, self.use_bias)

    def forward(self, input: Tensor) -> Tensor:
        """Return the outputs [..., out_features] of the inputs [..., in_features]."""
        output: Tensor = self.analog_module(input)
        return output

    @classmethod
    def _like(cls, digital: nn.Linear, rpu_config: Any, tile_module_class: Any) -> Self:
        return cls(digital.in_features, digital.out_features, digital.bias is not None, rpu_config, tile_module_class)
