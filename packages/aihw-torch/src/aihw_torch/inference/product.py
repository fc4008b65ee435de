"""The product of hardware-aware training and inference as one node of torch's graph, of torch's own operations.

The forward pass reads a copy of the weights, modified as in training or as programmed, through the signal chain of the
forward direction. The backward pass is the exact one of that copy, as if the converters and the noise were not there:
noise is a constant, rounding passes gradients on, and only an output that is held at the bound of the ADC passes none.

It serves where the core has no such product in one call (`layer.py`): on GPUs, with a copy of the weights for each
sample, and with read noise in every product.
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
        x, weight, (reading, address, *_) = x.detach(), weight.detach(), call
        r, u, clipped = 1.0, x, False
        if input_range is not None:
            r = input_range.item()
            clipped = _largest(x) > r
            u = x.clamp(-r, r).div_(r) if clipped else x / r
        samples = x.numel() // x.shape[-1]
        copy = reading.copy(weight if scale is None else weight / scale.view(-1, 1), samples, address)
        z = reading.product(u, copy, address)
        bound = 0.0 if reading.bound is None else reading.bound * (1.0 - 1e-6)
        if bound > 0.0 and _largest(z) < bound:
            bound = 0.0  # no output is held
        keeps_z = ctx.needs_input_grad[3] or bound > 0.0
        ctx.save_for_backward(u, copy, scale, z if keeps_z else None)
        ctx.state, ctx.call = (bound, r, clipped), call
        factor = scale if input_range is None else r if scale is None else scale * r
        y = z if factor is None else z * factor if keeps_z else z.mul_(factor)
        return y if bias is None else y + bias.detach()

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


class Read(NamedTuple):
    """What the gradients of a product need.

    Attributes:
        u: [..., in], in units of the range.
        copy: of the weights, [out, in] or [samples, out, in].
        scale: s, or None.
        z: [..., out]; may be None without a bound and a learned range.
        bound: at which outputs are held, or 0.
        r: the range, or 1.
        clipped: whether inputs were clipped.
    """

    u: Tensor
    copy: Tensor
    scale: Tensor | None
    z: Tensor | None
    bound: float
    r: float
    clipped: bool


def gradients(d: Tensor, read: Read, wants: tuple[bool, ...], decay: float, wanted: float) -> tuple[Tensor | None, ...]:
    """Return the gradients of `InferenceProduct` of d [..., out], that of y; decay and wanted are those of `Call`."""
    u, copy, scale, z, bound, r, clipped = read
    for_x, for_weight, _, for_range, for_bias, _ = wants
    rows, inputs = d.reshape(-1, d.shape[-1]), u.reshape(-1, u.shape[-1])
    db = rows.sum(0) if for_bias else None
    passed = rows
    if bound > 0.0 and z is not None:  # an output that is held passes nothing
        passed = torch.ops.aten.hardtanh_backward(rows, z.view(rows.shape), -bound, bound)
    dx = dr = None
    if for_x or for_range:
        dx = _input_gradient(passed, copy, scale).view(u.shape)
        if clipped:
            torch.ops.aten.hardtanh_backward.grad_input(dx, u, -1.0, 1.0, grad_input=dx)
    if for_range and z is not None and dx is not None:
        total = (rows * z.view(rows.shape)).sum(0)
        dr = (total.sum() if scale is None else (total * scale).sum()) - torch.dot(dx.reshape(-1), u.reshape(-1))
        outside = (u.abs() >= 1.0).float().mean().item() if clipped and decay > 0.0 else 0.0
        dr = (dr + (decay * r if 1.0 - outside > wanted else 0.0)).view(1)
    dw = torch.addmm(d.new_empty(()), passed.T, inputs, beta=0.0, alpha=r) if for_weight else None  # r d^T u
    return dx if for_x else None, dw, None, dr, db, None


def _gradients(ctx: Any, d: Tensor) -> tuple[Tensor | None, ...]:
    call = ctx.call
    read = Read(*ctx.saved_tensors, *ctx.state)
    return gradients(d, read, ctx.needs_input_grad, call.decay, call.wanted)


_gradients_once = once_differentiable(_gradients)


def _input_gradient(d: Tensor, copy: Tensor, scale: Tensor | None) -> Tensor:
    """Return the gradient of u, for y = s (copy u), of gradients [samples, out]."""
    d = d if scale is None else d * scale
    return torch.einsum("no,noi->ni", d, copy) if copy.ndim == 3 else d @ copy
