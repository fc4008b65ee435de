"""Logical weights: what the array holds times the scales, with the bias; how they are set and read."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from aihw_torch.errors import ConfigError, NonFiniteError, ShapeError
from aihw_torch.tiles.input_range import RangedModule
from aihw_torch.tiles.mapping import scales_of


class LogicalWeights(RangedModule):
    """The weights of a `TileModule` as a user sees them; see there for its attributes."""

    out_size: int
    in_size: int
    analog_bias: bool
    device: torch.device
    bias: nn.Parameter | None
    mapping_scales: Tensor | None
    out_scaling_alpha: nn.Parameter | None

    @property
    def rpu_config(self) -> Any:
        """The configuration, a frozen copy."""
        raise NotImplementedError

    def describe(self) -> str:
        """Return a few words for messages."""
        return f"analog tile of {self.out_size} x {self.in_size}"

    # ---- weights

    def set_weights(
        self,
        weight: Any,
        bias: Any = None,
        apply_weight_scaling: bool = True,
        realistic: bool = False,
        weight_scaling_omega: float | None = None,
    ) -> None:
        """Set the weights as far as the array allows, and the bias.

        Args:
            weight: [out, in], or any shape of as many elements in that order.
            bias: [out]; None keeps a digital bias as it is and is an error for an analog one.
            apply_weight_scaling: whether the weights are logical ones; False means they are in units of the array, and
                all scales stay.
            realistic: whether the array gets there by closed-loop programming, as hardware does; False writes them.
            weight_scaling_omega: the largest absolute value on the array, by default that of the mapping. If it is
                positive, the mapping scale becomes max|weight| / omega (per output if `weight_scaling_columnwise`) and
                a learned output scale becomes 1.
        """
        weight = self._checked_weight(weight)
        bias = self._checked_bias(bias)
        if self.analog_bias:
            weight = torch.cat([weight, bias[:, None]], dim=1)
        mapping = self.rpu_config.mapping
        omega = mapping.weight_scaling_omega if weight_scaling_omega is None else weight_scaling_omega
        scales = None
        if apply_weight_scaling and omega > 0.0:
            scales = scales_of(weight, mapping, omega)
        with torch.no_grad():
            if scales is not None and self.out_scaling_alpha is not None:
                self.out_scaling_alpha.fill_(1.0)
            if scales is not None:
                self.set_mapping_scales(scales)
            current = self.get_scales() if apply_weight_scaling else None
            current = None if current is None else current.cpu()
            physical = weight if current is None else weight / _rows(current)
            if realistic:
                self._program_physical(physical)
            else:
                self._write_physical(physical)
            if self.bias is not None and bias is not None:
                self.bias.copy_(bias)
        self._weights_changed()

    def get_weights(self, apply_weight_scaling: bool = True, realistic: bool = False) -> tuple[Tensor, Tensor | None]:
        """Return copies of the weights [out, in] and of the bias [out] or None.

        Args:
            apply_weight_scaling: whether to return the logical weights, or those in units of the array.
            realistic: whether to estimate them from noisy products, as on hardware; False reads without noise.
        """
        values = self._estimate_physical() if realistic else self._read_physical()
        if apply_weight_scaling and (scales := self.get_scales()) is not None:
            values = values * _rows(scales)
        if self.analog_bias:
            return values[:, :-1].clone(), values[:, -1].clone()
        return values, None if self.bias is None else self.bias.detach().clone()

    def remap_weights(self, weight_scaling_omega: float = 1.0) -> None:
        """Write the logical weights again with the mapping scale that puts the largest at `weight_scaling_omega`."""
        self.set_weights(*self.get_weights(), weight_scaling_omega=weight_scaling_omega)

    def _checked_weight(self, weight: Any) -> Tensor:
        values: Tensor = torch.as_tensor(weight, dtype=torch.float32, device="cpu").detach()
        transposed = values.dim() == 2 and values.shape != (self.out_size, self.in_size)
        if transposed or values.numel() != self.out_size * self.in_size:
            raise ShapeError(
                f"the {self.describe()} takes weights of the shape {(self.out_size, self.in_size)}, "
                f"not {tuple(values.shape)}"
            )
        if not torch.isfinite(values).all():
            raise NonFiniteError("the weights contain NaN or infinity and nothing was set")
        return values.reshape(self.out_size, self.in_size)

    def _checked_bias(self, bias: Any) -> Any:
        if bias is None:
            if self.analog_bias:
                raise ShapeError(f"the {self.describe()} has its bias on the array; give a bias as well")
            return None
        if self.bias is None and not self.analog_bias:
            raise ShapeError(f"the {self.describe()} has no bias; leave it out")
        bias = torch.as_tensor(bias, dtype=torch.float32, device="cpu").detach()
        if bias.shape != (self.out_size,):
            raise ShapeError(f"the bias has the shape {tuple(bias.shape)} instead of {(self.out_size,)}")
        if not torch.isfinite(bias).all():
            raise NonFiniteError("the bias contains NaN or infinity and nothing was set")
        return bias

    def _read_physical(self) -> Tensor:
        """Return a copy of the array, [out, in] with the column of an analog bias."""
        raise NotImplementedError

    def _write_physical(self, values: Tensor) -> None:
        """Set the array as far as its bounds allow."""
        raise NotImplementedError

    def _estimate_physical(self) -> Tensor:
        """Return an estimate of the array from its products."""
        raise ConfigError(f"the {self.describe()} has no devices to measure; leave realistic at False")

    def _program_physical(self, values: Tensor) -> None:
        """Bring the array to these values by its products and pulses."""
        raise ConfigError(f"the {self.describe()} has no pulses to program with; leave realistic at False")

    def _weights_changed(self) -> None:
        """Do what has to follow a change of the weights from outside."""

    # ---- scales

    def get_scales(self) -> Tensor | None:
        """Return the product of mapping scale and learned scale, [1] or [out], or None if there is neither."""
        scales = [s.detach() for s in (self.mapping_scales, self.out_scaling_alpha) if s is not None]
        return None if not scales else scales[0].clone() if len(scales) == 1 else scales[0] * scales[1]

    def get_mapping_scales(self) -> Tensor | None:
        """Return a copy of the mapping scales, or None."""
        return None if self.mapping_scales is None else self.mapping_scales.clone()

    def set_mapping_scales(self, scales: Any) -> None:
        """Set the mapping scales: a number, [1] or [out]; None removes them."""
        if scales is None:
            self.mapping_scales = None
            return
        values = self._checked_scales(scales)
        if self.mapping_scales is not None and self.mapping_scales.shape == values.shape:
            self.mapping_scales.copy_(values)
        else:
            self.mapping_scales = values.to(self.device)

    def get_learned_out_scales(self) -> Tensor | None:
        """Return a copy of the learned output scale, or None."""
        return None if self.out_scaling_alpha is None else self.out_scaling_alpha.detach().clone()

    def set_learned_out_scales(self, scales: Any) -> None:
        """Set the learned output scale: a number, or its shape."""
        if self.out_scaling_alpha is None:
            raise ConfigError("this tile has no learned output scale; set mapping.learn_out_scaling=True")
        with torch.no_grad():
            self.out_scaling_alpha.copy_(self._checked_scales(scales).expand(self.out_scaling_alpha.shape))

    def set_scales(self, scales: Any) -> None:
        """Make the product of all scales `scales`: the mapping scale takes it, a learned output scale becomes 1."""
        self.set_mapping_scales(scales)
        if self.out_scaling_alpha is not None:
            self.set_learned_out_scales(1.0)

    def _checked_scales(self, scales: Any) -> Tensor:
        values = torch.as_tensor(scales, dtype=torch.float32, device="cpu").detach().reshape(-1).clone()
        if values.numel() not in (1, self.out_size):
            raise ShapeError(f"scales are one number or {self.out_size}, not {values.numel()}")
        if not bool((torch.isfinite(values) & (values != 0.0)).all()):
            raise NonFiniteError("scales must be finite and not zero")
        return values


def _rows(scales: Tensor) -> Tensor:
    """Return scales as a column that multiplies the rows of a matrix."""
    return scales.float().view(-1, 1)
