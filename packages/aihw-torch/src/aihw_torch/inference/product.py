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

from aihw_torch.inference.reading import Address, Reading


class Call(NamedTuple):
    """What a product needs beside tensors.

    Attributes:
        reading: how the array is read.
        address: of its noise.
        decay, wanted: the gradient of the input range gets `decay` times the range where more than the fraction
            `wanted` of the inputs lies inside.
    """

    reading: Reading
    address: Address
    decay: float = 0.0
    wanted: float = 1.0


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
        """Return y [..., out] of x [..., in], the weight [out, in], s [1] or [out], r [1] and the bias [out]."""
        x, weight, reading = x.detach(), weight.detach(), call.reading
        r = 1.0 if input_range is None else input_range.item()
        u, outside = (x, None) if input_range is None else _in_range(x, r)
        physical = weight if scale is None else weight / scale.view(-1, 1)
        copy = reading.copy(physical, x.numel() // x.shape[-1], call.address)
        z = reading.product(u, copy, call.address)
        held = None if reading.bound is None else _beyond(z, reading.bound * (1.0 - 1e-6), or_at=True)
        keeps_z = ctx.needs_input_grad[3]
        ctx.save_for_backward(u, copy, scale, outside, held, z if keeps_z else None)
        ctx.r, ctx.call, ctx.ranged = r, call, input_range is not None
        factor = scale if input_range is None else r if scale is None else scale * r
        y = z if factor is None else z * factor if keeps_z else z.mul_(factor)
        return y if bias is None else y.add_(bias.detach())

    @staticmethod
    def backward(ctx: Any, d: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of x, weight, input range and bias."""
        # What refuses second derivatives takes as long as a small product: use it only where torch builds a graph.
        return (_gradients_once if torch.is_grad_enabled() else _gradients)(ctx, d)


def _in_range(x: Tensor, r: float) -> tuple[Tensor, Tensor | None]:
    """Return clip(x, -r, r) / r, and where x is outside; None for nowhere."""
    outside = _beyond(x, r, or_at=False)
    return (x / r, None) if outside is None else (x.clamp(-r, r).div_(r), outside)


def _beyond(x: Tensor, bound: float, *, or_at: bool) -> Tensor | None:
    """Where |x| is above a bound (or at it), as a mask; None for nowhere, which one pass finds out."""
    if x.numel() == 0:
        return None
    low, high = (value.item() for value in x.aminmax())
    largest = max(-low, high)
    if largest < bound or (largest == bound and not or_at):
        return None
    return x.abs() >= bound if or_at else x.abs() > bound


def _gradients(ctx: Any, d: Tensor) -> tuple[Tensor | None, ...]:
    u, copy, scale, outside, held, z = ctx.saved_tensors
    for_x, for_weight, _, for_range, for_bias, _ = ctx.needs_input_grad
    rows, inputs = d.reshape(-1, d.shape[-1]), u.reshape(-1, u.shape[-1])
    db = rows.sum(0) if for_bias else None
    passed = rows if held is None else rows.masked_fill(held.view(rows.shape), 0.0)
    needs_dx = for_x or (for_range and (outside is not None or copy.ndim == 3))
    raw = passed.T @ inputs if for_weight or (for_range and not needs_dx) else None
    dx = None
    if needs_dx:
        dx = _input_gradient(passed, copy, scale)
        if outside is not None:
            dx.masked_fill_(outside.view(dx.shape), 0.0)
    dr = _range_gradient(ctx, rows, dx, raw) if for_range else None
    dw = None if not for_weight or raw is None else raw.mul_(ctx.r) if ctx.ranged else raw
    return dx.view(u.shape) if for_x and dx is not None else None, dw, None, dr, db, None


_gradients_once = once_differentiable(_gradients)


def _input_gradient(d: Tensor, copy: Tensor, scale: Tensor | None) -> Tensor:
    """Return dx [samples, in] = copy^T (s d) for d [samples, out]."""
    if copy.ndim == 3:
        return torch.einsum("no,noi->ni", d if scale is None else d * scale, copy)
    if scale is None:
        return d @ copy
    return (d * scale) @ copy if d.shape[0] < copy.shape[1] else d @ (copy * scale.view(-1, 1))


def _range_gradient(ctx: Any, d: Tensor, dx: Tensor | None, raw: Tensor | None) -> Tensor:
    """Return dr [1]: r is a factor of the output, and divides the inputs that are not clipped.

    Args:
        ctx: of the node.
        d: gradient of the output, [samples, out].
        dx: gradient of the inputs, [samples, in], 0 where they are clipped; or None, and then
        raw: d^T u, [out, in], where no input is clipped.
    """
    u, copy, scale, outside, _, z = ctx.saved_tensors
    if dx is not None:
        inner = torch.dot(dx.view(-1), u.reshape(-1))
    else:
        per_output = (copy * raw).sum(1)
        inner = per_output.sum() if scale is None else (per_output * scale).sum()
    products = (d * z.view(d.shape)).sum(0)
    outer = products.sum() if scale is None else (products * scale).sum()
    inside = 1.0 if outside is None else 1.0 - torch.count_nonzero(outside).item() / outside.numel()
    decay = ctx.call.decay * ctx.r if ctx.call.decay > 0.0 and inside > ctx.call.wanted else 0.0
    return (outer - inner + decay).view(1)
