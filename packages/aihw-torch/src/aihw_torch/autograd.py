"""The matrix-vector product of a pulsed tile, with its digital bias, as a node of torch's graph (eager mode)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from aihw_torch.errors import NonFiniteError
from aihw_torch.kept import give_away
from aihw_torch.patches import Kernel, Patches, add_patches, format_of

if TYPE_CHECKING:
    from aihw_torch.parameters import PulseToken
    from aihw_torch.tiles import AnalogTile

Gradients = tuple[Tensor | None, Tensor | None, Tensor | None, None, None, None]


class AnalogMVM(torch.autograd.Function):
    """Forward: y = s W x + bias, where the array computes W x. Backward: dx = W^T s d from the array, and the record.

    The gradient of the token is the norm of what was recorded (see `record`). The noise of the backward product has the
    number of its forward call.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, token: PulseToken, bias: Tensor | None, tile: AnalogTile, step: int, kernel: Kernel | None
    ) -> Tensor:
        """Return y [..., out] of x [..., in], or [samples, *positions, out] of images and a kernel."""
        ctx.kernel = kernel
        if kernel is not None:
            ctx.shape, ctx.format = x.shape, format_of(x)
            if not x.is_contiguous():  # rows of a kernel are read faster than single pixels
                x = give_away(x.contiguous())
        ctx.tile, ctx.step, ctx.scale = tile, step, tile._buffers["mapping_scales"]
        ctx.evaluate = not tile.training
        # The weight is saved where the backward pass needs it, so that torch notices an update in between, as for
        # any layer.
        ctx.save_for_backward(x, *((tile._parameters["weight"],) if ctx.needs_input_grad[0] else ()))
        y: Tensor = tile.read(x, step, kernel)
        return y if bias is None else y.add_(bias)

    @staticmethod
    def backward(ctx: Any, d: Tensor) -> Gradients:
        """Return the gradients of x, of the token and of the bias."""
        # What refuses second derivatives takes as long as the product itself: use it only where torch builds a graph.
        return (_gradients_once if torch.is_grad_enabled() else _gradients)(ctx, d)


# What `AnalogMVM.apply` ends in, after a search for the transforms of torch.func, which the tile has refused.
apply_mvm: Any = super(torch.autograd.Function, AnalogMVM).apply


def _gradients(ctx: Any, d: Tensor) -> Gradients:
    x, kernel = ctx.saved_tensors[0], ctx.kernel
    if not d.is_contiguous():  # one copy for all that need it
        d = give_away(d.contiguous())
    for_x, for_token, for_bias, *_ = ctx.needs_input_grad
    dx = _input_gradient(ctx, d) if for_x else None
    if dx is not None and kernel is not None:
        # In the format of the images, because pooling is slow to follow a gradient in another one.
        dx = add_patches(dx, ctx.shape, kernel).contiguous(memory_format=ctx.format)
    norm = None
    if for_token:
        norm = ctx.tile.record.add(x if kernel is None else Patches(x, kernel), d)
    return dx, norm, d.reshape(-1, d.shape[-1]).sum(0) if for_bias else None, None, None, None


_gradients_once = once_differentiable(_gradients)


def _input_gradient(ctx: Any, d: Tensor) -> Tensor:
    """Return W^T s d; a gradient that is not finite goes on as NaN, because a GradScaler looks for it at the end."""
    tile, d = ctx.tile, d.detach()
    if ctx.scale is not None:
        d = d * ctx.scale
    offset = 0 if tile.process_group is None else tile.sample_offset(d)
    try:
        dx: Tensor = tile.tile.backward(d, step=ctx.step, sample_offset=offset, evaluate=ctx.evaluate)
    except NonFiniteError:
        dx = d.new_full((*d.shape[:-1], tile.tile.in_size), torch.nan)
    return dx
