"""The product of hardware-aware training and inference as one node of torch's graph (eager mode).

The forward pass reads a copy of the weights, modified as in training or as programmed, through the signal chain of the
forward direction. The backward pass is the exact one of that copy, as if the converters and the noise were not there:
noise is a constant, rounding passes gradients on, and only an output that is held at the bound of the ADC passes none.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from aihw_torch.inference.geometry import Geometry, Rows
from aihw_torch.inference.reading import Address, Reading
from aihw_torch.patches import format_of


class Call(NamedTuple):
    """What a product needs beside tensors.

    Attributes:
        reading: how the array is read.
        address: of its noise.
        decay, wanted: the gradient of the input range gets `decay` times the range where more than the fraction
            `wanted` of the inputs lies inside.
        geometry: what the samples are.
    """

    reading: Reading
    address: Address
    decay: float = 0.0
    wanted: float = 1.0
    geometry: Geometry = Rows()


class InferenceProduct(torch.autograd.Function):
    """y = r s (W u) + bias with u = clip(x, -r, r) / r, where the array holds W = weight / s.

    One node, because each of its parts alone would be a pass over the inputs. The scale s is part of it because it
    cancels in the gradient of the weight.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        scale: Tensor | None,
        input_range: Tensor | None,
        bias: Tensor | None,
        call: Call,
    ) -> Tensor:
        """Return y [..., out] of x, the weight [out, in], s [1] or [out], r [1] and the bias [out]; x as its geometry."""
        x, weight, (reading, address, *_, geometry) = x.detach(), weight.detach(), call
        r, u = 1.0, x
        ctx.clipped = False
        if input_range is not None:
            r = input_range.item()
            ctx.clipped = _largest(x) > r
            u = x.clamp(-r, r).div_(r) if ctx.clipped else x / r
        copy = reading.copy(weight if scale is None else weight / scale.view(-1, 1), geometry.samples(x), address)
        z = geometry.product(reading, u, copy, address)
        ctx.bound = None if reading.bound is None else reading.bound * (1.0 - 1e-6)
        if ctx.bound is not None and _largest(z) < ctx.bound:
            ctx.bound = None  # no output is held
        keeps_z = ctx.needs_input_grad[3] or ctx.bound is not None
        ctx.save_for_backward(u, copy, scale, z if keeps_z else None)
        ctx.r, ctx.call = r, call
        factor = scale if input_range is None else r if scale is None else scale * r
        if bias is not None and isinstance(factor, Tensor) and keeps_z:
            return torch.addcmul(bias.detach(), z, factor)
        y = z if factor is None else z * factor if keeps_z else z.mul_(factor)
        return y if bias is None else y.add_(bias.detach())

    @staticmethod
    def backward(ctx: Any, d: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of x, weight, input range and bias."""
        # What refuses second derivatives takes as long as a small product: use it only where torch builds a graph.
        return (_gradients_once if torch.is_grad_enabled() else _gradients)(ctx, d)


def _largest(x: Tensor) -> float:
    """Return max |x|."""
    if x.numel() == 0:
        return 0.0
    low, high = x.aminmax()
    return max(-low.item(), high.item())


def _gradients(ctx: Any, d: Tensor) -> tuple[Tensor | None, ...]:
    u, copy, scale, z = ctx.saved_tensors
    for_x, for_weight, _, for_range, for_bias, _ = ctx.needs_input_grad
    geometry, rows = ctx.call.geometry, d.reshape(-1, d.shape[-1])
    db = rows.sum(0) if for_bias else None
    passed = rows
    if ctx.bound is not None:  # an output that is held passes nothing
        passed = torch.ops.aten.hardtanh_backward(rows, z.view(rows.shape), -ctx.bound, ctx.bound)
    passed = geometry.errors(passed, u)
    at_end = u.abs().ge_(1.0) if ctx.clipped and for_range else None  # 1 where inputs are clipped, else 0
    dx = dr = None
    if for_x or (for_range and copy.ndim == 3):
        dx = geometry.input_gradient(passed, copy, scale, u)
        if ctx.clipped:
            torch.ops.aten.hardtanh_backward.grad_input(dx, u, -1.0, 1.0, grad_input=dx)
    dw: Any = None
    if for_weight or (for_range and dx is None):
        dw = geometry.weight_gradient(passed, u, ctx.r)  # r d^T u
    if for_range:
        if dx is not None:
            inner = _dot(dx, u)
        else:
            from_inside = dw if at_end is None else geometry.weight_gradient(passed, at_end * u, -ctx.r, dw)
            inner = _total((copy * from_inside).sum(1), scale) / ctx.r
        dr = _total((rows * z.view(rows.shape)).sum(0), scale) - inner
        dr = (dr + _decay(ctx.call, ctx.r, at_end)).view(1)
    return dx if for_x else None, dw if for_weight else None, None, dr, db, None


_gradients_once = once_differentiable(_gradients)


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """Return the sum of a * b, in one pass where both lie in memory in the same order."""
    if a.stride() == b.stride() and a.is_contiguous(memory_format=format_of(a)):
        return torch.dot(a.as_strided((a.numel(),), (1,)), b.as_strided((b.numel(),), (1,)))
    return (a * b).sum()


def _total(per_output: Tensor, scale: Tensor | None) -> Tensor:
    """Return the sum of [out], times s."""
    return per_output.sum() if scale is None else (per_output * scale).sum()


def _decay(call: Call, r: float, at_end: Tensor | None) -> float:
    """Return what pulls the range in: decay * r where enough of the inputs lies inside."""
    if call.decay <= 0.0:
        return 0.0
    clipped = 0.0 if at_end is None else call.geometry.fraction(at_end)
    return call.decay * r if 1.0 - clipped > call.wanted else 0.0
