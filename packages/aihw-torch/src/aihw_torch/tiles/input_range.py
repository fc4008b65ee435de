"""The input range of a tile: inputs are clipped to [-r, r] and divided by r; r follows the data, then its gradient."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from aihw_torch.config import InputRangeParameter
from aihw_torch.errors import ConfigError, NonFiniteError, ShapeError


class RangedModule(nn.Module):
    """A module whose inputs have a range, if the configuration asks for it.

    Attributes:
        exact: inputs go through as if there were no range, for calibration.
        input_range: r, [1]; a parameter if it is learned; None without an input range.
        input_range_update_idx: number of batches that have set r so far, one int64; only with an input range.
    """

    edge_dtype = torch.float32  # of inputs and outputs
    exact = False
    input_range: Tensor | None
    input_range_update_idx: Tensor

    def _make_input_range(self, parameters: InputRangeParameter) -> None:
        self._has_input_range = parameters.enable
        value = (
            torch.full((1,), parameters.init_value, dtype=self.edge_dtype, device="cpu") if parameters.enable else None
        )
        if value is not None and parameters.learn_input_range:
            self.input_range = nn.Parameter(value)
        else:
            self.register_buffer("input_range", value)
        if value is not None:
            self.register_buffer("input_range_update_idx", torch.zeros((), dtype=torch.int64, device="cpu"))

    def _ranged(self, x: Tensor, parameters: InputRangeParameter, constant: bool) -> tuple[Tensor, Tensor]:
        """Return the inputs in units of the range, with a constant 1 more for an analog bias, and the output factor."""
        assert self.input_range is not None
        if self.training and parameters.init_from_data > 0:
            follow_data(self.input_range, self.input_range_update_idx, x, parameters)
        if constant:  # the constant input is an input as others: 1 = r * (1 / r), as far as the range allows
            x = nn.functional.pad(x, (0, 1), value=1.0)
        return apply(x, self.input_range.float(), parameters)

    def set_input_range(self, value: Any) -> None:
        """Set the input range to |value|, a finite number that is not zero."""
        if self.input_range is None:
            raise ConfigError("there is no input range here; set pre_post.input_range.enable=True")
        given = torch.as_tensor(value).detach().abs()
        if given.numel() != 1:
            raise ShapeError(f"an input range is one number, not {given.numel()}")
        if not 0.0 < float(given) < math.inf:
            raise NonFiniteError(f"an input range must be finite and not zero, not {float(given)}")
        with torch.no_grad():
            self.input_range.copy_(given.reshape(1))


@torch.no_grad()
def follow_data(input_range: Tensor, index: Tensor, x: Tensor, parameters: InputRangeParameter) -> None:
    """Let the first `init_from_data` batches with a spread set the range, in place.

    Batch number i makes it the running mean |(r i + alpha std(x)) / (i + 1)|.

    Args:
        input_range: r, [1].
        index: i, one int64, counted up.
        x: the batch, of any shape.
        parameters: `init_from_data` and alpha = `init_std_alpha`.
    """
    if x.numel() < 2:
        return
    if not torch.compiler.is_compiling() and index.item() >= parameters.init_from_data:
        return  # without a look at the batch
    spread = x.detach().to(input_range.dtype).std()
    count = index.to(input_range.dtype)
    mean = ((input_range * count + parameters.init_std_alpha * spread) / (count + 1.0)).abs()
    used = (index < parameters.init_from_data) & (spread > 0.0)
    input_range.copy_(torch.where(used, mean, input_range))
    index.add_(used.to(index.dtype))


def apply(x: Tensor, input_range: Tensor, parameters: InputRangeParameter) -> tuple[Tensor, Tensor]:
    """Return (clip(x, -r, r) / r, the factor r of the outputs), with the gradients that `parameters.gradient` asks for.

    `exact` is the chain rule through the clip, the division and the factor. `legacy` is the rule of the field's
    established toolkit: inputs pass their gradients on also where they are clipped, and r gets the sum of the negative
    ones above r minus the sum of the positive ones below -r, times `gradient_scale * r` if `gradient_relative`.
    Both add `decay * r` to the gradient of r where more than `input_min_percentage` of the inputs are inside.
    """
    if parameters.gradient == "legacy":
        scaled: Tensor = _LegacyRange.apply(x, input_range, parameters)  # type: ignore[no-untyped-call]
        return scaled, input_range.detach().clone()
    # A copy, because the range may change in place (from data) before the backward pass.
    factor = input_range.clone()
    if parameters.decay > 0.0 and input_range.requires_grad:
        factor = _Decay.apply(factor, x.detach(), parameters.decay, parameters.input_min_percentage)  # type: ignore[no-untyped-call]
    return torch.clamp(x, -factor, factor) / factor, factor


def manage_output_clipping(
    factor: Tensor, input_range: Tensor, y: Tensor, limit: Any, parameters: InputRangeParameter
) -> Tensor:
    """Return the factor r of the outputs; where too many are clipped, its gradient makes r grow.

    Below `output_min_percentage` the fraction p of outputs that are not clipped adds -(1 - p) r to the gradient of r.

    Args:
        factor: r, as `apply` returned it.
        input_range: r, where a gradient is wanted.
        y: outputs of the array, of any shape.
        limit: magnitude at which the converter clips them; it broadcasts to y.
        parameters: `output_min_percentage`, and the rule of the gradient.
    """
    inside = (y.detach().abs() < limit).float().mean()
    missing = torch.where(inside < parameters.output_min_percentage, 1.0 - inside, torch.zeros_like(inside))
    source = input_range if parameters.gradient == "legacy" else factor
    managed: Tensor = _Growth.apply(factor, source, missing)  # type: ignore[no-untyped-call]
    return managed


class _Growth(torch.autograd.Function):
    """The factor r; the source of its gradient gets -missing * r in addition."""

    @staticmethod
    def forward(ctx: Any, factor: Tensor, source: Tensor, missing: Tensor) -> Tensor:
        ctx.save_for_backward(factor, missing)
        return factor.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        factor, missing = ctx.saved_tensors
        return gradient, -missing * factor, None


def _decay(x: Tensor, input_range: Tensor, decay: float, wanted: float) -> Tensor:
    inside = (x.abs() <= input_range).to(input_range.dtype).mean()
    return torch.where(inside > wanted, decay * input_range, torch.zeros_like(input_range))


class _Decay(torch.autograd.Function):
    """The identity on r, whose gradient gets the decay in addition."""

    @staticmethod
    def forward(ctx: Any, input_range: Tensor, x: Tensor, decay: float, wanted: float) -> Tensor:
        ctx.save_for_backward(input_range, x)
        ctx.decay, ctx.wanted = decay, wanted
        return input_range.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        input_range, x = ctx.saved_tensors
        return gradient + _decay(x, input_range, ctx.decay, ctx.wanted), None, None, None


class _LegacyRange(torch.autograd.Function):
    """clip(x, -r, r) / r with the legacy rule for the gradients."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, input_range: Tensor, parameters: InputRangeParameter) -> Tensor:
        value = input_range.detach().clone()
        ctx.save_for_backward(x, value)
        ctx.parameters = parameters
        return torch.clamp(x, -value, value) / value

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor | None, None]:
        x, value = ctx.saved_tensors
        parameters: InputRangeParameter = ctx.parameters
        dx = gradient / value
        if not ctx.needs_input_grad[1]:
            return dx, None, None
        zero = torch.zeros_like(dx)
        above = torch.where((x >= value) & (dx < 0.0), dx, zero).sum()
        below = torch.where((x <= -value) & (dx > 0.0), dx, zero).sum()
        dr = (above - below).expand_as(value)
        if parameters.gradient_relative:
            dr = dr * value * parameters.gradient_scale
        if parameters.decay > 0.0:
            dr = dr + _decay(x, value, parameters.decay, parameters.input_min_percentage)
        return dx, dr, None
