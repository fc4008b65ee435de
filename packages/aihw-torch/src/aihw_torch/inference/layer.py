"""The product of a layer as one node of torch's graph and one call of the core in each direction (eager mode, CPU).

It has the values and gradients of `InferenceProduct`, for rows and for images, whose patches are never copied
as a whole.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from aihw_torch.inference.product import Read, gradients
from aihw_torch.inference.reading import Address, Reading
from aihw_torch.patches import Kernel, compiled_kernel
from rpu_sim import layers

_LARGE_PRODUCT = 1 << 23  # multiply-adds


class LayerCall(NamedTuple):
    """What a product needs beside tensors.

    Attributes:
        reading: how the array is read.
        address: of its noise.
        r: the input range, 0 for none.
        decay, wanted: the gradient of the input range gets `decay` times the range where more than the fraction
            `wanted` of the inputs lies inside.
        kernel: of images [samples, channels, *size]; None for rows [..., in].
    """

    reading: Reading
    address: Address
    r: float
    decay: float
    wanted: float
    kernel: Kernel | None


class LayerProduct(torch.autograd.Function):
    """y = r s (W u) + bias with u = clip(x, -r, r) / r, where the array holds W = weight / s."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        scale: Tensor | None,
        input_range: Tensor | None,
        bias: Tensor | None,
        call: LayerCall,
    ) -> Tensor:
        """Return y [..., out], or [samples, *positions, out], of x.

        All are float32; x is contiguous or, of images, with the channels last; the weight is [out, in], s [1] or [out],
        r [1], whose value is that of the call, and the bias [out].
        """
        reading, address, r, _, _, kernel = call
        shape, wants = x.shape, ctx.needs_input_grad
        leading: tuple[int, ...]
        images: tuple[Any, tuple[int, ...], bool]
        if kernel is None:
            leading = shape[:-1]
            images = layers.ROWS, (math.prod(leading), shape[-1]), False
        else:
            leading = kernel.of_samples(shape)
            images = compiled_kernel(*kernel), shape, not x.is_contiguous()
        bound = 0.0 if reading.bound is None else reading.bound * (1.0 - 1e-6)
        keeps = wants[3] or (bound > 0.0 and any(wants))
        y, z, copy, largest_x, largest_z = reading.layer(x, images, leading, weight, scale, r, bias, address, keeps)
        if largest_z < bound:
            bound = 0.0  # no output is held
        ctx.save_for_backward(x, copy, scale, z if wants[3] or bound > 0.0 else None)
        ctx.state = images, bound, largest_x > r > 0.0, call
        return y

    @staticmethod
    def backward(ctx: Any, d: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of x, weight, input range and bias."""
        # What refuses second derivatives takes as long as a small product: use it only where torch builds a graph.
        return (_gradients_once if torch.is_grad_enabled() else _gradients)(ctx, d)


def _gradients(ctx: Any, d: Tensor) -> tuple[Tensor | None, ...]:
    x, copy, scale, z = ctx.saved_tensors
    for_x, for_weight, _, for_range, for_bias, _ = ctx.needs_input_grad
    (kernel, shape, channels_last), bound, clips, (_, _, r, decay, wanted, _) = ctx.state
    n_out = copy.shape[0]
    if _is_large(kernel, d, x):
        u = x if r == 0.0 else (x.clamp(-r, r) if clips else x) / r
        read = Read(u, copy, scale, z, bound, r or 1.0, clips)
        return gradients(d, read, ctx.needs_input_grad, decay, wanted)
    d = (d if d.is_contiguous() else d.contiguous()).resolve_neg()
    dx = torch.empty_like(x) if for_x else None
    dw = torch.empty_like(copy) if for_weight else None
    db = d.new_empty(n_out) if for_bias else None
    dr = d.new_empty(1) if for_range else None
    layers.layer_gradients(
        kernel,
        d.data_ptr(),
        x.data_ptr(),
        shape,
        channels_last,
        copy.data_ptr(),
        n_out,
        None if scale is None else scale.data_ptr(),
        0 if scale is None else scale.shape[0],
        None if z is None else z.data_ptr(),
        bound,
        r,
        clips,
        decay,
        wanted,
        None if dx is None else dx.data_ptr(),
        None if dw is None else dw.data_ptr(),
        None if db is None else db.data_ptr(),
        None if dr is None else dr.data_ptr(),
    )
    return dx, dw, None, dr, db, None


def _is_large(kernel: Any, d: Tensor, x: Tensor) -> bool:
    """Whether the gradients are large products of matrices, which the libraries behind torch are best at."""
    return kernel is layers.ROWS and d.numel() * x.shape[-1] >= _LARGE_PRODUCT


_gradients_once = once_differentiable(_gradients)

# What `LayerProduct.apply` ends in, after a search for the transforms of torch.func, which the tile has refused.
apply_layer: Any = super(torch.autograd.Function, LayerProduct).apply
