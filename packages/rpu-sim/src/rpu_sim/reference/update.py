"""The pulsed update of one call, sample by sample (``core/ops/update.cpp``, ``core/cpu/kernels_update.cpp``)."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..config import (
    ConstantStepDevice,
    CycleNoiseType,
    PulsedDevice,
    PulseType,
    TableStepDevice,
    UpdateParameters,
)
from ..config.cells import granularity as nominal_step
from ..streams import Stream
from . import philox, trains
from .closed_form import BOUND_MARGIN, PULSE_LAW, PulseNumbers, closed_form
from .devices import PULSE, Cell, is_gaussian, is_noisy, prepare
from .fmath import f32, normal2, rint
from .pulse_law import MOMENTS
from .write_noise import PULSED_WRITE, written

Float32 = NDArray[np.float32]
Pulses = list[NDArray[np.int8]]  # +1 up, -1 down, 0 none, for each slot of a chunk in order; [out, in] each

MAX_CHUNK_SLOTS = 8192
WORD = 32  # slots


def padded(lines: int) -> int:
    """Lines rounded up to whole groups of 64."""
    return (lines + 63) // 64 * 64


def samples_per_chunk(p: UpdateParameters, lr: float, g: float, out_size: int, in_size: int) -> int:
    """Samples that are processed together."""
    longest = p.desired_bl
    if not (p.update_management or p.update_bl_management or p.fixed_bl) and f32(g) * f32(longest) < f32(lr):
        longest = math.ceil(f32(lr) / f32(g))
    slots = min(MAX_CHUNK_SLOTS, (1 << 27) // (padded(out_size) + padded(in_size)))
    return max(1, slots // longest)


def sample_pulses(
    p: UpdateParameters, x: Float32, d: Float32, lr: float, g: float, sample: int, step: int, key: int
) -> Pulses:
    """The slots of one sample."""
    plan = trains.plan_train(p, f32(abs(lr)), f32(g), np.abs(x).max(), np.abs(d).max())
    direction = np.where(np.signbit(d)[:, None] ^ np.signbit(x)[None, :] ^ (lr < 0), 1, -1).astype(np.int8)
    if plan.length == 0:
        return []
    if p.pulse_type in (PulseType.DETERMINISTIC_IMPLICIT, PulseType.MEAN_COUNT):
        counts = deterministic_counts(p, plan, x, d, sample, step, key)
        return [np.where(counts > slot, direction, 0).astype(np.int8) for slot in range(plan.length)]
    res = trains.normalised(p.res)
    sides = []
    for values, scale, stream, rounding_stream in (
        (x, plan.x_scale, Stream.X_TRAIN, Stream.X_ROUND),
        (d, plan.d_scale, Stream.D_TRAIN, Stream.D_ROUND),
    ):
        rounding = trains.rounding_of(p, res, values.size, sample, step, rounding_stream, key)
        prob = trains.probability(values, scale, res, rounding)
        sides.append(trains.train(values, plan.length, prob, sample, step, stream, key))
    return [np.where(df[:, None] & xf[None, :], direction, 0).astype(np.int8) for xf, df in zip(*sides, strict=True)]


def deterministic_counts(
    p: UpdateParameters, plan: trains.Plan, x: Float32, d: Float32, sample: int, step: int, key: int
) -> NDArray[np.int64]:
    """Pulses of each cell for the pulse types without trains."""
    counted = p.pulse_type is PulseType.MEAN_COUNT
    x_res = trains.normalised(p.res if counted else p.x_res_implicit)
    d_res = trains.normalised(p.res if counted else p.d_res_implicit)
    x_round = trains.rounding_of(p, x_res, x.size, sample, step, Stream.X_ROUND, key)
    d_round = trains.rounding_of(p, d_res, d.size, sample, step, Stream.D_ROUND, key)
    px = trains.probability(x, plan.x_scale, x_res, x_round)[None, :]
    pd = trains.probability(d, plan.d_scale, d_res, d_round)[:, None]
    length = f32(plan.length)
    if counted:
        return rint(rint(px * length) * rint(pd * length) / length).astype(np.int64)
    return rint((length * px) * pd).astype(np.int64)


def cycle_noise(
    device: PulsedDevice, cells: NDArray[np.uint32], pulse: int, chunk: int, step: int, key: int
) -> Float32:
    """Cycle noise of pulse number ``pulse`` of each cell: normal, or for a table uniform."""
    four = philox.draw(cells, chunk, step, Stream.CYCLE_PULSE, pulse // 4, key)
    if isinstance(device, TableStepDevice):
        return philox.uniform(four[pulse % 4])
    normals = [*normal2(four[0], four[1]), *normal2(four[2], four[3])]
    return normals[pulse % 4]


def in_order(pulses: Pulses) -> NDArray[np.int8]:
    """The pulses of each cell without the slots between them: [n, out, in], pulse number n of each, 0 for none."""
    all_slots = np.stack(pulses)
    ordered = np.zeros((np.count_nonzero(all_slots, axis=0).max(), *all_slots.shape[1:]), np.int8)
    done = np.zeros(all_slots.shape[1:], np.int64)
    for slot in all_slots:
        at = np.nonzero(slot)
        ordered[(done[at], *at)] = slot[at]
        done[at] += 1
    return ordered


def one_by_one(
    device: PulsedDevice, w: Float32, pulses: Pulses, cell: Cell, chunk: int, step: int, key: int
) -> Float32:
    """Every pulse of every cell in order, each with its own cycle noise."""
    index = np.arange(w.size, dtype=np.uint32).reshape(w.shape)
    xi = np.zeros(w.shape, f32)
    for n, signs in enumerate(in_order(pulses)):
        if is_noisy(device):
            xi = cycle_noise(device, index, n, chunk, step, key)
        w = np.where(signs != 0, PULSE[type(device)](device, w, signs > 0, cell, xi), w)
    return w


def merged_counts(
    device: ConstantStepDevice, w: Float32, pulses: Pulses, cell: Cell, xi: Float32
) -> tuple[Float32, NDArray[np.bool_]]:
    """All pulses of state-independent steps in one draw, and which cells are near a bound."""
    n_up = np.sum([slot > 0 for slot in pulses], axis=0).astype(f32)
    n_dn = np.sum([slot < 0 for slot in pulses], axis=0).astype(f32)
    rise, fall = cell["dwmin_up"] * n_up, cell["dwmin_down"] * n_dn
    spread = f32(device.dw_min_std) * np.sqrt(cell["dwmin_up"] * rise + cell["dwmin_down"] * fall)
    margin, zero = BOUND_MARGIN * spread, f32(0)
    highest = w + (np.maximum(rise, zero) - np.minimum(fall, zero))  # a step may be negative
    lowest = w + (np.minimum(rise, zero) - np.maximum(fall, zero))
    near = ((highest + margin) > cell["max_bound"]) | ((lowest - margin) < cell["min_bound"])
    return w + ((rise - fall) + spread * xi), near


def merged_moments(
    device: PulsedDevice, w: Float32, pulses: Pulses, cell: Cell, xi: Float32
) -> tuple[Float32, NDArray[np.bool_]]:
    """Mean and variance pulse by pulse, one draw at the end, and which cells are near a bound."""
    mean, variance = w, np.zeros_like(w)
    high, low, widest = mean, mean, variance
    # Steps larger than the distance to the bound grow from pulse to pulse, to infinity and then NaN. What has been
    # infinite is beyond the bound, so NaN must not take its place.
    with np.errstate(over="ignore", invalid="ignore"):
        for signs in in_order(pulses):
            m, v = MOMENTS[type(device)](device, mean, variance, signs > 0, cell)
            mean, variance = np.where(signs != 0, m, mean), np.where(signs != 0, v, variance)
            high, low, widest = np.fmax(high, mean), np.fmin(low, mean), np.fmax(widest, variance)
        margin = BOUND_MARGIN * np.sqrt(widest)
        near = ((high + margin) > cell["max_bound"]) | ((low - margin) < cell["min_bound"])
        spread: Float32 = np.sqrt(variance)
        return mean + spread * xi, near


def pulse_numbers(pulses: Pulses, in_words: bool) -> PulseNumbers:
    """How many pulses go up and down, and in what order; with ``in_words``, pairs of a word of slots count as half.

    Trains of several samples share words, deterministic pulses of one sample have the same direction.
    """
    per_group = WORD if in_words else 1
    up, down, pairs = (np.zeros(pulses[0].shape, np.int32) for _ in range(3))
    for first in range(0, len(pulses), per_group):
        group = np.array(pulses[first : first + per_group])
        n_up, n_down = (group > 0).sum(axis=0, dtype=np.int32), (group < 0).sum(axis=0, dtype=np.int32)
        pairs += n_down * (2 * up + n_up)
        up += n_up
        down += n_down
    n_up, n_down = up.astype(f32), down.astype(f32)
    order = pairs.astype(f32) / np.maximum(f32(2) * (n_up * n_down), f32(1))
    return PulseNumbers(up, down, n_up, n_down, order)


class Pulsed(NamedTuple):
    """New weights, and the pulses [out, in] that every cell got, up and down."""

    weights: Float32
    up: NDArray[np.int64]
    down: NDArray[np.int64]


def update(
    w: Float32,
    cells: Cell,
    device: PulsedDevice,
    p: UpdateParameters,
    x: Float32,
    d: Float32,
    lr: float,
    *,
    key: int,
    step: int,
    first_sample: int = 0,
    visible: Float32 | None = None,
    train_key: int | None = None,
    train_step: int | None = None,
    granularity: float | None = None,
    rates: Float32 | None = None,
    drive: int = 0,
) -> Pulsed:
    """One update call with x [batch, in] and d [batch, out].

    With write noise the weights are the stored ones, and ``visible`` is what the array shows, changed in place. An
    array of a cell takes its trains from another key and step; ``rates`` are factors on the learning rate of each
    sample; ``drive`` is 1 for a device that gets only the pulses up, 2 for one that gets those down, turned around.
    """
    device = device.resolved()
    g = nominal_step(device) if granularity is None else granularity
    factors = np.ones(len(x), np.float32) if rates is None else rates
    lrs = [math.copysign(float(f32(abs(lr)) * factor), lr) for factor in factors]
    address = (step if train_step is None else train_step, key if train_key is None else train_key)
    cell = prepare(device, {name: np.broadcast_to(v, w.shape) for name, v in cells.items()})
    per_chunk = samples_per_chunk(p, max((abs(v) for v in lrs), default=0.0), g, *w.shape)
    up, down = np.zeros(w.shape, np.int64), np.zeros(w.shape, np.int64)
    for chunk, first in enumerate(range(0, len(x), per_chunk)):
        pulses: Pulses = []
        for b in range(first, min(first + per_chunk, len(x))):
            pulses += sample_pulses(p, x[b], d[b], lrs[b], g, (first_sample + b) & 0xFFFFFFFF, *address)
        if drive:
            pulses = [(slot == (1 if drive == 1 else -1)).astype(np.int8) for slot in pulses]
        if not pulses:
            continue
        up += np.sum([slot > 0 for slot in pulses], axis=0)
        down += np.sum([slot < 0 for slot in pulses], axis=0)
        w = _update_chunk(w, pulses, cell, device, p, chunk, step, key)
        if visible is not None:
            touched = np.any([slot != 0 for slot in pulses], axis=0)
            shown = written(device, w, step, key, draw=PULSED_WRITE, chunk=chunk)
            visible[...] = np.where(touched, shown, visible)
    return Pulsed(w, up, down)


def fire(w: Float32, cells: Cell, device: PulsedDevice, counts: NDArray[np.int32], *, key: int, step: int) -> Pulsed:
    """``counts`` pulses of each cell, positive ones up."""
    device = device.resolved()
    cell = prepare(device, {name: np.broadcast_to(v, w.shape) for name, v in cells.items()})
    slots = np.abs(counts).max(initial=0)
    pulses = [np.where(np.abs(counts) > slot, np.sign(counts), 0).astype(np.int8) for slot in range(slots)]
    if pulses:
        w = _update_chunk(w, pulses, cell, device, UpdateParameters(), 0, step, key)
    return Pulsed(w, np.maximum(counts, 0).astype(np.int64), np.maximum(-counts, 0).astype(np.int64))


def _update_chunk(
    w: Float32, pulses: Pulses, cell: Cell, device: PulsedDevice, p: UpdateParameters, chunk: int, step: int, key: int
) -> Float32:
    rows, columns = w.shape
    xi = np.zeros_like(w)
    if device.dw_min_std > 0:
        xi = philox.normals(rows, columns, step, Stream.CYCLE_MERGED, 0, key, sample=chunk)
    if isinstance(device, ConstantStepDevice):
        merged, near = merged_counts(device, w, pulses, cell, xi)
    elif p.noise is CycleNoiseType.CLOSED_FORM and type(device) in PULSE_LAW:
        in_words = p.pulse_type in (PulseType.STOCHASTIC, PulseType.STOCHASTIC_COMPRESSED)
        merged, near = closed_form(device, w, cell, pulse_numbers(pulses, in_words), xi)
    elif is_gaussian(device) or (p.noise is CycleNoiseType.PER_UPDATE and type(device) in MOMENTS):
        merged, near = merged_moments(device, w, pulses, cell, xi)
    else:
        return one_by_one(device, w, pulses, cell, chunk, step, key)
    if near.any():
        merged = np.where(near, one_by_one(device, w, pulses, cell, chunk, step, key), merged)
    return np.where(np.any([slot != 0 for slot in pulses], axis=0), merged, w)  # a cell without pulses keeps its bits
