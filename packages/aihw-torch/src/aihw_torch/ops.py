"""The analog product as operations of torch's dispatcher, for `torch.compile` and `torch.export`.

They are pure functions of tensors: the array, the constants of its converters, the seed and the number of the call.
Eager mode takes the shorter way of `autograd`, with the same bits.
"""

from __future__ import annotations

import functools
import json
from typing import Any

import torch
from torch import Tensor

import rpu_sim
from aihw_torch import replay
from aihw_torch.config import from_dict, to_dict
from aihw_torch.errors import ConfigError, NonFiniteError, StateError
from aihw_torch.record import find_record
from rpu_sim import periphery
from rpu_sim.gpu import space_of

_MASK = (1 << 32) - 1


def describe_periphery(tile: rpu_sim.Tile) -> tuple[str, list[Tensor]]:
    """Return what an operation has to know of the converters of a tile: their parameters (JSON) and their constants."""
    chains = {direction: periphery.io_of(tile.rpu_config, direction) for direction in periphery.DIRECTIONS}
    held = tile.converter_arrays
    plain = {direction: to_dict(io) for direction, io in chains.items()} | {"mapping": to_dict(tile.rpu_config.mapping)}
    return json.dumps(plain), [held[name] for name in _constants(chains)]


def refuse_running_mean(where: str) -> None:
    """Raise for a training forward of a tile whose noise management follows the inputs."""
    raise ConfigError(
        f"the {where} has NoiseManagementType.AVERAGE_ABS_MAX, whose running mean changes with every training forward, "
        "which compilers and torch.func do not see; train without them, or with another noise management"
    )


def _constants(chains: dict[str, Any]) -> list[str]:
    """Names of the arrays that the chains of both directions keep."""
    return [
        f"buffer.{direction}_{name}"
        for direction in periphery.DIRECTIONS
        for name in periphery.buffer_shapes(chains[direction], direction, (1, 1))
    ]


@functools.lru_cache(maxsize=256)
def _chains(io: str) -> dict[str, Any]:
    return {name: from_dict(plain) for name, plain in json.loads(io).items()}


def _product(
    direction: str, values: Tensor, weight: Tensor, constants: list[Tensor], address: tuple[int, int, int], io: str
) -> Tensor:
    """Return the product of one direction; the address of its noise is (seed, step, first sample)."""
    chains, space = _chains(io), space_of(weight)
    named = {name: space.borrow(array) for name, array in zip(_constants(chains), constants, strict=True)}
    matrix = space.borrow(weight.detach().contiguous())
    width, outputs = weight.shape[::-1] if direction == "forward" else weight.shape
    view, leading = space.samples(values.detach(), width, "x" if direction == "forward" else "d")
    result = space.result(view, (view.shape[0], outputs))
    seed, step, sample = address
    product = periphery.product(chains[direction], direction, matrix, named, chains["mapping"])
    # An operation that is declared to change nothing: tiles that would follow a running mean refuse it.
    product(view, result, rpu_sim.derive_seed(seed % (1 << 64)), step & _MASK, sample & _MASK, True)
    y: Tensor = space.returned(result, values)
    return y.reshape(*leading, outputs)


@torch.library.custom_op("aihw::step_of", mutates_args=())
def step_of(counter: Tensor, x: Tensor, log: Tensor, remember: bool) -> Tensor:
    """Return the number of the forward call with input x: a copy of a counter that is going to change.

    `counter.clone()` will not do: compilers compute it a second time for the backward pass, when it has changed. They
    leave this operation alone but in a checkpoint, whose repeated call finds the number in the log.

    Args:
        counter: number of calls so far, one int64.
        x: the input.
        log: key of the log of the tile (see `replay`).
        remember: whether the call may be repeated.
    """
    steps = replay.find_log(log)
    if steps is not None and replay.recomputing() and (known := steps.find(x)) is not None:
        return torch.tensor(known, device=counter.device)
    if steps is not None and remember:
        steps.note(x, int(counter))
    return counter.clone()


@step_of.register_fake
def _(counter, x, log, remember):  # type: ignore[no-untyped-def]
    return torch.empty_like(counter)


@torch.library.custom_op("aihw::mvm", mutates_args=())
def mvm(
    x: Tensor,
    weight: Tensor,
    scale: Tensor | None,
    constants: list[Tensor],
    token: Tensor,
    key: Tensor,
    seed: Tensor,
    step: Tensor,
    sample_offset: int,
    io: str,
) -> Tensor:
    """Return y = scale * (W x), [..., out].

    Args:
        x: inputs, [..., in] float32.
        weight: the array, [out, in].
        scale: factor of the outputs, [1] or [out].
        constants: of the converters (see `describe_periphery`).
        token: gets the norm of the weight gradient as its gradient, if it asks for one.
        key: of the record that the backward pass adds to.
        seed, step, sample_offset: address of the noise.
        io: parameters of the converters.
    """
    y = _product("forward", x, weight, constants, (int(seed), int(step), sample_offset), io)
    return y if scale is None else y.mul_(scale)


@mvm.register_fake
def _(x, weight, scale, constants, token, key, seed, step, sample_offset, io):  # type: ignore[no-untyped-def]
    return x.new_empty(*x.shape[:-1], weight.shape[0])


@torch.library.custom_op("aihw::mvm_transposed", mutates_args=())
def mvm_transposed(
    d: Tensor,
    weight: Tensor,
    scale: Tensor | None,
    constants: list[Tensor],
    seed: Tensor,
    step: Tensor,
    sample_offset: int,
    io: str,
) -> Tensor:
    """Return W^T (scale * d), [..., in], of the gradients d [..., out]; NaN where d is not finite."""
    d = d if scale is None else d * scale
    try:
        return _product("backward", d, weight, constants, (int(seed), int(step), sample_offset), io)
    except NonFiniteError:  # a GradScaler looks for it at the end of the backward pass
        return d.new_full((*d.shape[:-1], weight.shape[1]), torch.nan)


@mvm_transposed.register_fake
def _(d, weight, scale, constants, seed, step, sample_offset, io):  # type: ignore[no-untyped-def]
    return d.new_empty(*d.shape[:-1], weight.shape[1])


@torch.library.custom_op("aihw::record", mutates_args=())
def record(x: Tensor, d: Tensor, key: Tensor, step: Tensor) -> Tensor:
    """Record x and d for the update of a tile; return the norm of the weight gradient, [1].

    The step is that of the forward call: two uses of a layer differ in it, so that no compiler takes them for one.
    """
    return find_record(key).add(x, d)


@record.register_fake
def _(x, d, key, step):  # type: ignore[no-untyped-def]
    return x.new_empty(1)


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, weight, scale, constants, _, key, seed, step, ctx.sample_offset, ctx.io = inputs
    ctx.save_for_backward(x, weight, scale, key, seed, step, *constants)


def _differentiate(ctx: Any, d: Tensor) -> tuple[Any, ...]:
    x, weight, scale, key, seed, step, *constants = ctx.saved_tensors
    wants_x, wants_weight, _, _, wants_token, *_ = ctx.needs_input_grad
    dx = dw = norm = None
    d = d.contiguous()
    if wants_x:
        dx = mvm_transposed(d, weight, scale, constants, seed, step, ctx.sample_offset, ctx.io)
    if wants_weight:  # a weight put in place of the array (torch.func.functional_call)
        scaled = d if scale is None else d * scale
        dw = scaled.reshape(-1, scaled.shape[-1]).T @ x.reshape(-1, x.shape[-1])
    if wants_token:
        norm = record(x, d, key, step)
    return dx, dw, None, [None] * len(constants), norm, None, None, None, None, None


mvm.register_autograd(_differentiate, setup_context=_save)


def _refuse_vmap(*_: Any) -> Any:
    raise StateError(
        "torch.func transforms do not go through a pulsed array, which every call reads with new noise; use autograd"
    )


for _op in (mvm, mvm_transposed, record):
    _op.register_vmap(_refuse_vmap)
