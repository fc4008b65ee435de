"""The product of a layer as one node of torch's graph and one call of the core in each direction (eager mode, CPU).

It has the values and gradients of `InferenceProduct`, for rows and for images, whose patches are never copied
as a whole.
"""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from aihw_torch.inference.reading import Address, Reading
from aihw_torch.patches import Kernel
from rpu_sim import layers


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
        """Return y [..., out], or [samples, *positions, out], of x, contiguous or with the channels last.

        The weight is [out, in], s [1] or [out], r [1], whose value is that of the call, and the bias [out].
        """
        reading, address, r, _, _, kernel = call
        given, weight = x.detach(), weight.detach().contiguous()
        if kernel is None:
            compiled, leading = layers.ROWS, x.shape[:-1]
            if x.ndim != 2:
                given = given.view(-1, x.shape[-1])
        else:
            compiled, leading = compiled_kernel(*kernel), kernel.of_samples(x.shape)
        bound = reading.bound
        ctx.bound = 0.0 if bound is None else bound * (1.0 - 1e-6)
        keeps = ctx.needs_input_grad[3] or (bound is not None and any(ctx.needs_input_grad))
        b = None if bias is None else bias.detach()
        y, z, copy, largest_x, largest_z = reading.layer(
            given, compiled, math.prod(leading), weight, scale, r, b, address, keeps
        )
        if largest_z < ctx.bound:
            ctx.bound = 0.0  # no output is held
        ctx.clips = largest_x > r > 0.0
        ctx.save_for_backward(x, copy, scale, z if ctx.needs_input_grad[3] or ctx.bound > 0.0 else None)
        ctx.call, ctx.kernel = call, compiled
        return y if len(leading) == 1 else y.view(*leading, y.shape[1])

    @staticmethod
    def backward(ctx: Any, d: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of x, weight, input range and bias."""
        # What refuses second derivatives takes as long as a small product: use it only where torch builds a graph.
        return (_gradients_once if torch.is_grad_enabled() else _gradients)(ctx, d)


def _gradients(ctx: Any, d: Tensor) -> tuple[Tensor | None, ...]:
    x, copy, scale, z = ctx.saved_tensors
    for_x, for_weight, _, for_range, for_bias, _ = ctx.needs_input_grad
    call, n_out = ctx.call, copy.shape[0]
    x = x.detach()
    rows = d.detach().reshape(-1, n_out).contiguous()
    dx = torch.empty_like(x) if for_x else None
    dw = torch.empty_like(copy) if for_weight else None
    db = torch.empty(n_out) if for_bias else None
    dr = torch.empty(1) if for_range else None
    layers.layer_gradients(
        ctx.kernel,
        rows.numpy(),
        (x if call.kernel is not None or x.ndim == 2 else x.view(-1, x.shape[-1])).numpy(),
        copy.numpy(),
        *(None if values is None else values.numpy() for values in (scale, z)),
        ctx.bound,
        call.r,
        ctx.clips,
        call.decay,
        call.wanted,
        *(None if values is None else values.numpy() for values in (dx, dw, db, dr)),
    )
    return dx, dw, None, dr, db, None


_gradients_once = once_differentiable(_gradients)


@functools.lru_cache(maxsize=1024)
def compiled_kernel(size: tuple[int, ...], stride: tuple[int, ...], dilation: tuple[int, ...]) -> Any:
    """Return the kernel for the core."""
    return layers.Kernel(list(size), list(stride), list(dilation))
