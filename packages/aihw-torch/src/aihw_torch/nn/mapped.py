"""Layers that are always on a grid of tiles, also where one tile would do."""

from __future__ import annotations

from typing import Any

from aihw_torch.errors import ConfigError
from aihw_torch.nn.conv import AnalogConv1d, AnalogConv2d, AnalogConv3d, AnalogConvNd
from aihw_torch.nn.linear import AnalogLinear
from aihw_torch.tiles import TileModuleArray


class AnalogLinearMapped(AnalogLinear):
    """`AnalogLinear` on a grid of tiles."""

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        rpu_config: Any = None,
        tile_module_class: Any = TileModuleArray,
        *,
        seed: int | None = None,
    ) -> None:
        super().__init__(in_features, out_features, bias, rpu_config, tile_module_class or TileModuleArray, seed=seed)


class _Mapped(AnalogConvNd):
    """Puts the matrix of a convolution on a grid of tiles, whose bias is digital."""

    def _build(  # type: ignore[override]
        self, twin: Any, out: int, columns: int, rpu_config: Any, tile_module_class: Any, *rest: Any, **options: Any
    ) -> None:
        if twin.bias is not None and rpu_config is not None and not rpu_config.mapping.digital_bias:
            raise ConfigError(f"the bias of {type(self).__name__} is digital; set mapping.digital_bias=True")
        grid = tile_module_class or TileModuleArray
        super()._build(twin, out, columns, rpu_config, grid, *rest, **options)


class AnalogConv1dMapped(_Mapped, AnalogConv1d):
    """`AnalogConv1d` on a grid of tiles."""


class AnalogConv2dMapped(_Mapped, AnalogConv2d):
    """`AnalogConv2d` on a grid of tiles."""


class AnalogConv3dMapped(_Mapped, AnalogConv3d):
    """`AnalogConv3d` on a grid of tiles."""
