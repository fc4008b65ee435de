"""A matrix on a grid of tiles that have one digital periphery together."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from aihw_torch.config import SingleRPUConfig
from aihw_torch.errors import ConfigError, NonFiniteError, ShapeError
from aihw_torch.tiles.array import TileModuleArray
from aihw_torch.tiles.input_range import RangedModule
from aihw_torch.tiles.mapping import scales_of


class SharedPeripheryArray(TileModuleArray, RangedModule):
    """A grid of tiles with one input range, one set of scales and one bias for the whole matrix::

        x -> clip(x, -r, r) / r -> tiles -> sum over the inputs -> * r * mapping scale * learned scale -> + bias

    Each tile has its own devices, converters and noise. In inference the digital part works on sums over the tiles, so
    the drift compensation is that of the matrix as a whole: `drift_analog_weights` gives all tiles of an output the
    same factor. A matrix whose partial sums are analog, with one converter for each output, is a single large tile:
    that of the limits `mapping.max_input_size` and `mapping.max_output_size` at 0.

    Layers take this class where the configuration says `tile_array_class=SharedPeripheryArray`, or their argument
    `tile_module_class`.

    Args:
        out_size: number of outputs.
        in_size: number of inputs.
        rpu_config: of the whole, `SingleRPUConfig()` by default; the tiles get a copy without scales and range.
        bias: whether to add a digital bias.
        seed: of the whole grid, from which each tile gets its own; by default it follows torch's (see `seeds`).

    Attributes:
        out_scaling_alpha: learned factor of the outputs, a parameter [1] or [out], or None.
        input_range: r, [1]; a parameter if it is learned; None without an input range.
        rpu_config: the configuration, a frozen copy.

    Raises:
        ConfigError: for what only a single tile can do: `remap`, and `manage_output_clipping`.
    """

    out_scaling_alpha: nn.Parameter | None

    def __init__(
        self, out_size: int, in_size: int, rpu_config: Any = None, bias: bool = False, *, seed: int | None = None
    ) -> None:
        config = (SingleRPUConfig() if rpu_config is None else rpu_config).frozen_copy()
        config.check()
        _refuse(config)
        super().__init__(out_size, in_size, _of_tiles(config), bias, seed=seed)
        self.rpu_config = config
        self._make_input_range(config.pre_post.input_range)
        scales = out_size if config.mapping.out_scaling_columnwise else 1
        alpha = nn.Parameter(torch.ones(scales, device="cpu")) if config.mapping.learn_out_scaling else None
        self.register_parameter("out_scaling_alpha", alpha)

    def forward(self, x: Tensor) -> Tensor:
        """Return W x + bias: [..., in] -> [..., out]."""
        self._check_input(x)
        factor = None
        if self.input_range is not None and not self.exact and x.is_floating_point():
            ranged, factor = self._ranged(x.float(), self.rpu_config.pre_post.input_range, False)
            x = ranged.to(x.dtype)
        y = self._sum(x)
        dtype = y.dtype
        for scale in (factor, self.out_scaling_alpha):
            if scale is not None:
                y = y * scale
        return (y if self.bias is None else y + self.bias).to(dtype)

    def reconfigure(self, **changes: Any) -> None:
        """Change fields of the configuration, for the grid and all of its tiles."""
        config = self.rpu_config.mutable_copy()
        for name, value in changes.items():
            setattr(config, name, value)
        config.check()
        _refuse(config)
        own = _of_tiles(config)
        for tile, *_ in self._parts(torch.empty(self.out_size, self.in_size)):
            tile.reconfigure(**{name: getattr(own, name) for name in changes})
        self.rpu_config = config.frozen_copy()

    # ---- weights and scales

    def set_weights(
        self,
        weight: Any,
        bias: Any = None,
        apply_weight_scaling: bool = True,
        realistic: bool = False,
        weight_scaling_omega: float | None = None,
    ) -> None:
        """Set the weights [out, in] as far as the bounds of the devices allow, and the bias [out] if it is given.

        The options are those of `TileModule.set_weights`, for the matrix as a whole.
        """
        weight, bias = self._checked(weight, bias)
        mapping = self.rpu_config.mapping
        omega = mapping.weight_scaling_omega if weight_scaling_omega is None else weight_scaling_omega
        if apply_weight_scaling and omega > 0.0:
            self.set_mapping_scales(scales_of(weight, mapping, omega))
            if self.out_scaling_alpha is not None:
                with torch.no_grad():
                    self.out_scaling_alpha.fill_(1.0)
        scales = self.get_scales() if apply_weight_scaling else None
        physical = weight if scales is None else weight / scales.cpu().view(-1, 1)
        for tile, part in self._parts(physical):
            tile.set_weights(part, apply_weight_scaling=False, realistic=realistic)
        self._set_bias(bias)

    def get_weights(self, apply_weight_scaling: bool = True, realistic: bool = False) -> tuple[Tensor, Tensor | None]:
        """Return copies of the weights [out, in], logical or in units of the arrays, and of the bias [out] or None."""
        weight, bias = super().get_weights(apply_weight_scaling, realistic)
        if apply_weight_scaling and self.out_scaling_alpha is not None:
            weight = weight * self.out_scaling_alpha.detach().float().view(-1, 1)
        return weight, bias

    def remap_weights(self, weight_scaling_omega: float = 1.0) -> None:
        """Write the logical weights again with the mapping scale that puts the largest at `weight_scaling_omega`."""
        self.set_weights(*self.get_weights(), weight_scaling_omega=weight_scaling_omega)

    def get_mapping_scales(self) -> Tensor | None:
        """Return a copy of the mapping scales, [1] or [out], or None."""
        parts = [tile.get_mapping_scales() for tile in self.rows()[0]]
        found = [part for part in parts if part is not None]
        return None if not found else torch.cat(found) if self._is_columnwise(found) else found[0]

    def _is_columnwise(self, parts: list[Tensor]) -> bool:
        return [part.numel() for part in parts] == self.out_sizes and self.out_size > 1

    def set_mapping_scales(self, scales: Any) -> None:
        """Set the mapping scales: a number, [1] or [out]; None removes them."""
        parts: list[Any] = [scales] * len(self.out_sizes)
        if scales is not None:
            values = torch.as_tensor(scales, dtype=torch.float32, device="cpu").detach().reshape(-1)
            if values.numel() not in (1, self.out_size):
                raise ShapeError(f"scales are one number or {self.out_size}, not {values.numel()}")
            if not bool((torch.isfinite(values) & (values != 0.0)).all()):
                raise NonFiniteError("scales must be finite and not zero")
            parts = list(values.split(self.out_sizes)) if values.numel() > 1 else [values] * len(parts)
        for tiles in self.rows():
            for tile, part in zip(tiles, parts, strict=True):
                tile.set_mapping_scales(part)

    def get_scales(self) -> Tensor | None:
        """Return the product of mapping scale and learned scale, [1] or [out], or None if there is neither."""
        mapping, learned = self.get_mapping_scales(), self.out_scaling_alpha
        if learned is None:
            return mapping
        return learned.detach().float().clone() if mapping is None else mapping * learned.detach().float()

    def extra_repr(self) -> str:
        """Describe the grid in the representation of a model."""
        return f"{super().extra_repr()}, shared periphery"


def _of_tiles(config: Any) -> Any:
    """Return the configuration of the tiles: without what the grid does for all of them."""
    own = config.mutable_copy()
    own.mapping.weight_scaling_omega, own.mapping.learn_out_scaling = 0.0, False
    own.pre_post.input_range.enable = False
    return own


def _refuse(config: Any) -> None:
    ranged = config.pre_post.input_range
    if ranged.enable and ranged.manage_output_clipping:
        raise ConfigError("a shared input range cannot manage_output_clipping, because each tile clips its own outputs")
    remap = getattr(config, "remap", None)
    if remap is not None and remap.type.name != "NONE":
        raise ConfigError("remap gives every tile its own scales; use TileModuleArray, or remap_weights() of the grid")
