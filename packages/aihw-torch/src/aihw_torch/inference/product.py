"""The product of hardware-aware training and inference: modified weights, converters, and gradients straight through.

The forward pass reads a copy of the weights, modified as in training or as programmed, through the signal chain of the
forward direction. The backward pass is the exact one of that copy, as if the converters and the noise were not there:
noise is a constant, rounding passes gradients on, and only an output that is held at the bound of the ADC passes none.
"""

from __future__ import annotations

import dataclasses
import functools
import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

import rpu_sim
from aihw_torch.config import (
    BoundManagementType,
    IOParameters,
    NoiseManagementType,
    WeightModifierParameter,
    WeightModifierType,
    from_dict,
    to_dict,
)
from rpu_sim import arrays, periphery
from rpu_sim.weight_ops import WeightModifier, clip_weights, remap_weights

_MASK = (1 << 32) - 1


@dataclass(frozen=True, eq=False)
class Reading:
    """How an array is read: the forward chain with its constants, and the modifier of the weights, or None for none.

    Attributes:
        io: forward chain.
        constants: arrays of the chain that were drawn once per tile, by name.
        modifier: what makes the copy that is read; None reads the weights as they are.
        description: all of it but the values of the constants, as JSON, for the operations below.
        modified: the function that makes the copy, or None.
    """

    io: IOParameters
    constants: dict[str, Tensor] = field(default_factory=dict)
    modifier: WeightModifierParameter | None = None
    description: str = field(init=False)
    modified: WeightModifier | None = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "modified", None if self.modifier is None else WeightModifier(self.modifier))
        modifier = None if self.modifier is None else to_dict(self.modifier)
        plain = {"io": to_dict(self.io), "modifier": modifier, "constants": list(self.constants)}
        object.__setattr__(self, "description", json.dumps(plain))

    @property
    def samples_weights(self) -> bool:
        """Whether every sample of a batch has a copy of its own."""
        return self.modifier is not None and self.modifier.per_batch_sample


def modifies(modifier: WeightModifierParameter) -> bool:
    """Whether a modifier does anything."""
    plain = modifier.type in (WeightModifierType.NONE, WeightModifierType.COPY)
    return not plain or modifier.pdrop > 0.0


def constants_of(io: IOParameters, shape: tuple[int, int], seed: int) -> dict[str, Tensor]:
    """The arrays that a forward chain keeps for a tile of `seed`, by the name that `periphery` gives them."""
    drawn = {
        f"buffer.forward_{name}": np.zeros(size, np.float32)
        for name, size in periphery.buffer_shapes(io, "forward", shape).items()
    }
    if drawn:
        weights = np.zeros(shape, np.float32)
        periphery.product(io, "forward", weights, drawn).draw_constants(rpu_sim.derive_seed(seed))
    return {name.removeprefix("buffer."): torch.from_numpy(values) for name, values in drawn.items()}


def product(x: Tensor, weight: Tensor, reading: Reading, seed: int, step: int, sample_offset: int = 0) -> Tensor:
    """Return y [..., out] of inputs x [..., in] and a weight [out, in] as the chain reads it, without gradients.

    The noise depends on (seed, step, number of the sample) alone.
    """
    view, leading = arrays.samples(x, weight.shape[1], "x")
    result = np.empty((view.shape[0], weight.shape[0]), np.float32)
    matrix = weight.contiguous().numpy()
    named = {f"buffer.{name}": values.numpy() for name, values in reading.constants.items()}
    chain = periphery.product(reading.io, "forward", matrix, named)
    chain(view, result, rpu_sim.derive_seed(seed), step & _MASK, sample_offset & _MASK)
    return torch.from_numpy(result if x.ndim == 2 else result.reshape(*leading, weight.shape[0]))


def sampled_product(x: Tensor, copies: Tensor, reading: Reading, seed: int, step: int, sample_offset: int) -> Tensor:
    """As `product`, where sample n is multiplied by its own copy, copies[n] of [samples, out, in]."""
    rows = x.reshape(-1, x.shape[-1])
    parts = [product(rows[n : n + 1], copies[n], reading, seed, step, sample_offset + n) for n in range(rows.shape[0])]
    return torch.cat(parts).reshape(*x.shape[:-1], copies.shape[1])


def read_copy(weight: Tensor, reading: Reading, samples: int, seed: int, step: int, sample_offset: int) -> Tensor:
    """The weights that a call reads: [out, in], or [samples, out, in] with a copy for each sample."""
    if reading.modified is None:
        return weight
    copies: Tensor = reading.modified(
        weight,
        seed=seed,
        step=step,
        samples=samples if reading.samples_weights else None,
        sample_offset=sample_offset,
    )
    return copies


def saturation(io: IOParameters) -> float | None:
    """Magnitude at which outputs are held by the ADC, or None where it depends on the sample or there is none."""
    if io.is_perfect or io.out_bound <= 0.0 or io.bound_management is not BoundManagementType.NONE:
        return None
    if io.noise_management is NoiseManagementType.NONE:
        scale = 1.0
    elif io.noise_management is NoiseManagementType.CONSTANT:
        scale = io.nm_thres if io.nm_thres > 0.0 else 1.0
    else:
        return None
    return io.out_bound * scale * abs(io.out_scale)


class InferenceProduct(torch.autograd.Function):
    """y = scale * (W x) in eager mode, where the array holds W = weight / scale; other arguments as `product`.

    The scale is part of it because it cancels in the gradient of the weight.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        scale: Tensor | None,
        reading: Reading,
        seed: int,
        step: int,
        sample_offset: int,
    ) -> Tensor:
        """Return y [..., out] of x [..., in], the logical weight [out, in] and the scale [1] or [out]."""
        x, weight = x.detach(), weight.detach()
        physical = weight if scale is None else weight / scale.view(-1, 1)
        copy = read_copy(physical, reading, x.numel() // x.shape[-1], seed, step, sample_offset)
        call = sampled_product if copy.ndim == 3 else product
        y = call(x, copy, reading, seed, step, sample_offset)
        bound = saturation(reading.io)
        held = None if bound is None else y.abs() >= bound * (1.0 - 1e-6)
        ctx.save_for_backward(x, copy, scale, held)
        return y if scale is None else y.mul_(scale)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of x and of the weight."""
        x, copy, scale, held = ctx.saved_tensors
        d = d if held is None else d.masked_fill(held, 0.0)
        dx, dw = gradients(x, copy, d, scale, ctx.needs_input_grad[0], ctx.needs_input_grad[1])
        return dx, dw, None, None, None, None, None


def gradients(
    x: Tensor, copy: Tensor, d: Tensor, scale: Tensor | None, for_x: bool, for_weight: bool
) -> tuple[Tensor | None, Tensor | None]:
    """Return dx [..., in] and dw [out, in] of scale * (copy x) with copy = weight / scale, for d [..., out]."""
    d_rows, x_rows = d.reshape(-1, d.shape[-1]), x.reshape(-1, x.shape[-1])
    dw = d_rows.T @ x_rows if for_weight else None
    if not for_x:
        return None, dw
    d_rows = d_rows if scale is None else d_rows * scale
    dx = d_rows @ copy if copy.ndim == 2 else torch.einsum("no,noi->ni", d_rows, copy)
    return dx.reshape(x.shape), dw


# ---- the same for torch.compile and torch.export


@functools.lru_cache(maxsize=256)
def _described(text: str) -> Reading:
    """The reading of a description, without the values of its constants."""
    plain = json.loads(text)
    modifier = None if plain["modifier"] is None else from_dict(plain["modifier"])
    return Reading(from_dict(plain["io"]), dict.fromkeys(plain["constants"], torch.empty(0)), modifier)


@torch.library.custom_op("aihw::read_copy", mutates_args=())
def _copy_op(weight: Tensor, seed: Tensor, step: Tensor, samples: int, sample_offset: int, description: str) -> Tensor:
    copy = read_copy(weight, _described(description), samples, int(seed) % (1 << 64), int(step), sample_offset)
    return copy.clone() if copy is weight else copy


@_copy_op.register_fake
def _(weight, seed, step, samples, sample_offset, description):  # type: ignore[no-untyped-def]
    many = _described(description).samples_weights
    return weight.new_empty(samples, *weight.shape) if many else torch.empty_like(weight)


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
    call = sampled_product if copy.ndim == 3 else product
    reading = _described(description)
    reading = dataclasses.replace(reading, constants=dict(zip(reading.constants, constants, strict=True)))
    return call(x, copy, reading, int(seed) % (1 << 64), int(step), sample_offset)


@_mvm_op.register_fake
def _(x, copy, constants, seed, step, sample_offset, description):  # type: ignore[no-untyped-def]
    return x.new_empty(*x.shape[:-1], copy.shape[-2])


def _save_mvm(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, copy, constants, _, _, _, description = inputs
    ctx.n_constants = len(constants)
    bound = saturation(_described(description).io)
    ctx.held = None if bound is None else output.abs() >= bound * (1.0 - 1e-6)
    ctx.save_for_backward(x, copy)


def _differentiate_mvm(ctx: Any, d: Tensor) -> tuple[Any, ...]:
    x, copy = ctx.saved_tensors
    d = d if ctx.held is None else d.masked_fill(ctx.held, 0.0)
    dx, dw = gradients(x, copy, d, None, ctx.needs_input_grad[0], copy.ndim == 2 and ctx.needs_input_grad[1])
    if copy.ndim == 3 and ctx.needs_input_grad[1]:
        dw = torch.einsum("no,ni->noi", d.reshape(-1, d.shape[-1]), x.reshape(-1, x.shape[-1]))
    return dx, dw, [None] * ctx.n_constants, None, None, None, None


_mvm_op.register_autograd(_differentiate_mvm, setup_context=_save_mvm)


def _save_copy(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.many = output.ndim == 3


def _differentiate_copy(ctx: Any, d: Tensor) -> tuple[Any, ...]:
    return d.sum(0) if ctx.many else d, None, None, None, None, None


_copy_op.register_autograd(_differentiate_copy, setup_context=_save_copy)


def compiled_product(
    x: Tensor, weight: Tensor, reading: Reading, seed: Tensor, step: Tensor, sample_offset: int
) -> Tensor:
    """The product, without a scale, as operations that a compiler keeps whole; the same bits as in eager mode."""
    text, copy = reading.description, weight
    if reading.modifier is not None:
        copy = _copy_op(weight, seed, step, x.numel() // x.shape[-1], sample_offset, text)
    y: Tensor = _mvm_op(x, copy, list(reading.constants.values()), seed, step, sample_offset, text)
    return y


@torch.library.custom_op("aihw::clip_weights", mutates_args=())
def clipped(weight: Tensor, description: str) -> Tensor:
    """Return a clipped copy of a weight [out, in]; `description` is the clip as JSON."""
    result: Tensor = clip_weights(weight.detach(), from_dict(json.loads(description)))
    return result


@torch.library.custom_op("aihw::remapped_scales", mutates_args=())
def remapped_scales(weight: Tensor, scales: Tensor, description: str) -> Tensor:
    """Return the scales [out] with which a weight [out, in] uses the range; `description` is the remap as JSON."""
    result: Tensor = remap_weights(weight.detach(), scales.detach(), from_dict(json.loads(description)))[1]
    return result


@clipped.register_fake
def _(weight, description):  # type: ignore[no-untyped-def]
    return torch.empty_like(weight)


@remapped_scales.register_fake
def _(weight, scales, description):  # type: ignore[no-untyped-def]
    return weight.new_empty(weight.shape[0])
