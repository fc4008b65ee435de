"""The matrix-vector product of a tile as a node of torch's graph (eager mode)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from aihw_torch.errors import NonFiniteError

if TYPE_CHECKING:
    from aihw_torch.parameters import PulseToken
    from aihw_torch.tiles import AnalogTile


class AnalogMVM(torch.autograd.Function):
    """Forward: y = W x as the array computes it. Backward: dx = W^T d as the array computes it, and the record.

    The gradient of the token is the norm of what was recorded (see `record`).
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, token: PulseToken, tile: AnalogTile) -> Tensor:
        """Return y [..., out] of x [..., in]."""
        ctx.tile = tile
        # The weight is saved where the backward pass needs it, so that torch notices an update in between, as for
        # any layer.
        ctx.save_for_backward(x, *((tile.weight,) if ctx.needs_input_grad[0] else ()))
        y: Tensor = tile.tile.forward(x.detach())
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        """Return the gradients of x and of the token."""
        x = ctx.saved_tensors[0]
        dx = _input_gradient(ctx.tile, d) if ctx.needs_input_grad[0] else None
        norm = ctx.tile.record.add(x, d) if ctx.needs_input_grad[1] else None
        return dx, norm, None


def _input_gradient(tile: AnalogTile, d: Tensor) -> Tensor:
    """Return W^T d; a gradient that is not finite goes on as NaN, because a GradScaler looks for it at the end."""
    try:
        dx: Tensor = tile.tile.backward(d.detach())
    except NonFiniteError:
        dx = d.new_full((*d.shape[:-1], tile.tile.in_size), torch.nan)
    return dx
