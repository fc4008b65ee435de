"""The product of hardware-aware training and inference as operations that a compiler keeps whole, with equal bits."""

from __future__ import annotations

import json
from typing import Any

import torch
from torch import Tensor

from aihw_torch.config import from_dict
from aihw_torch.inference.reading import NoisyReading, Reading, described, read_noise
from rpu_sim.weight_ops import clip_weights, remap_weights


@torch.library.custom_op("aihw::read_copy", mutates_args=())
def _copy_op(weight: Tensor, seed: Tensor, step: Tensor, samples: int, sample_offset: int, description: str) -> Tensor:
    address = (int(seed) % (1 << 64), int(step), sample_offset)
    copy = described(description).copy(weight, samples, address)
    return copy.clone() if copy is weight else copy


@_copy_op.register_fake
def _(weight, seed, step, samples, sample_offset, description):  # type: ignore[no-untyped-def]
    many = described(description).samples_weights
    return weight.new_empty(samples, *weight.shape) if many else torch.empty_like(weight)


def _save_copy(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.many = output.ndim == 3


def _differentiate_copy(ctx: Any, d: Tensor) -> tuple[Any, ...]:
    return d.sum(0) if ctx.many else d, None, None, None, None, None


_copy_op.register_autograd(_differentiate_copy, setup_context=_save_copy)


@torch.library.custom_op("aihw::inference_mvm", mutates_args=())
def _mvm_op(
    x: Tensor,
    copy: Tensor,
    constants: list[Tensor],
    seed: Tensor,
    step: Tensor,
    sample_offset: int,
    description: str,
) -> Tensor:
    reading = described(description)
    if constants:
        own = dict(zip(reading.constants, constants, strict=True))
        reading = Reading(reading.io, reading.mapping, own, None, evaluate=True)
    return reading.product(x, copy, (int(seed) % (1 << 64), int(step), sample_offset))


@_mvm_op.register_fake
def _(x, copy, constants, seed, step, sample_offset, description):  # type: ignore[no-untyped-def]
    return x.new_empty(*x.shape[:-1], copy.shape[-2])


def _save_mvm(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, copy, constants, _, _, _, description = inputs
    ctx.n_constants = len(constants)
    bound = described(description).bound
    ctx.held = None if bound is None else output.abs() >= bound * (1.0 - 1e-6)
    ctx.save_for_backward(x, copy)


def _differentiate_mvm(ctx: Any, d: Tensor) -> tuple[Any, ...]:
    x, copy = ctx.saved_tensors
    wants_x, wants_copy, *_ = ctx.needs_input_grad
    rows, inputs = d.reshape(-1, d.shape[-1]), x.reshape(-1, x.shape[-1])
    if ctx.held is not None:
        rows = rows.masked_fill(ctx.held.view(rows.shape), 0.0)
    dx = dw = None
    if wants_x:
        dx = (rows @ copy if copy.ndim == 2 else torch.einsum("no,noi->ni", rows, copy)).view(x.shape)
    if wants_copy:
        dw = rows.T @ inputs if copy.ndim == 2 else torch.einsum("no,ni->noi", rows, inputs)
    return dx, dw, [None] * ctx.n_constants, None, None, None, None


_mvm_op.register_autograd(_differentiate_mvm, setup_context=_save_mvm)


@torch.library.custom_op("aihw::mvm_read_noise", mutates_args=())
def _read_noise_op(
    x: Tensor, variance: Tensor, seed: Tensor, step: Tensor, sample_offset: int, description: str
) -> Tensor:
    address = (int(seed) % (1 << 64), int(step), sample_offset)
    return read_noise(x, variance, address, described(description).io)


@_read_noise_op.register_fake
def _(x, variance, seed, step, sample_offset, description):  # type: ignore[no-untyped-def]
    return x.new_empty(*x.shape[:-1], variance.shape[0])


def compiled_product(
    x: Tensor, weight: Tensor, reading: Reading, seed: Tensor, step: Tensor, sample_offset: int
) -> Tensor:
    """Return what `InferenceProduct` does, without scale, range and bias."""
    text, copy = reading.description, weight
    if reading.modifier is not None:
        copy = _copy_op(weight, seed, step, x.numel() // x.shape[-1], sample_offset, text)
    y: Tensor = _mvm_op(x, copy, list(reading.constants.values()), seed, step, sample_offset, text)
    if isinstance(reading, NoisyReading):
        y = y + _read_noise_op(x.detach(), reading.variance, seed, step, sample_offset, text)
    return y


@torch.library.custom_op("aihw::clip_weights", mutates_args=())
def clipped(weight: Tensor, description: str) -> Tensor:
    """Return a clipped copy of a weight [out, in]; `description` is the clip as JSON."""
    result: Tensor = clip_weights(weight.detach(), from_dict(json.loads(description)))
    return result


@clipped.register_fake
def _(weight, description):  # type: ignore[no-untyped-def]
    return torch.empty_like(weight)


@torch.library.custom_op("aihw::remapped_scales", mutates_args=())
def remapped_scales(weight: Tensor, scales: Tensor, description: str) -> Tensor:
    """Return the scales [out] with which a weight [out, in] uses the range; `description` is the remap as JSON."""
    result: Tensor = remap_weights(weight.detach(), scales.detach(), from_dict(json.loads(description)))[1]
    return result


@remapped_scales.register_fake
def _(weight, scales, description):  # type: ignore[no-untyped-def]
    return weight.new_empty(weight.shape[0])
