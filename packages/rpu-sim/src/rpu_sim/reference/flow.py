"""Updates without pulses, sample by sample: mean-field flow (``core/physics/flow.hpp``) and exact bounded changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..config import (
    ConstantStepDevice,
    ExpStepDevice,
    LinearStepDevice,
    PiecewiseStepDevice,
    PowStepDevice,
    PowStepReferenceDevice,
    PulsedDevice,
    SoftBoundsDevice,
    SoftBoundsReferenceDevice,
    TableStepDevice,
    UpdateParameters,
)
from ..config.cells import granularity
from . import trains
from .devices import (
    PULSE,
    Cell,
    affine_mean_step,
    bounded,
    piecewise_mean_step,
    power_law_mean_step,
    prepare,
    signed,
    table_mean_step,
)
from .fmath import exp, expm1_ratio, f32, fma, log, log1p_ratio

Float32 = NDArray[np.float32]
Flow = Callable[..., Float32]

TOLERANCE = f32(2.0**-23)
MOST_SUBSTEPS = 256
SHORTEST_SUBSTEP = f32(1 / 128)
SMALLEST = f32(1.17549435e-38)


def mean_step(p: PulsedDevice, w: Float32, up: Any, cell: Cell) -> Float32:
    """Mean change of one pulse."""
    inside = bounded(w, cell)
    if type(p) in MEAN_STEP:
        return MEAN_STEP[type(p)](p, inside, up, cell)
    return PULSE[type(p)](p, inside, up, cell, np.zeros_like(w)) - inside  # type: ignore[no-any-return]


def constant_flow(p: PulsedDevice, w: Float32, up: Any, cell: Cell, n: Float32) -> Float32:
    """Flow of a constant step."""
    return bounded(w + signed(up, cell["dwmin_up"], cell["dwmin_down"]) * n, cell)


def affine_flow(p: PulsedDevice, w: Float32, up: Any, cell: Cell, n: Float32) -> Float32:
    """Flow of an affine step."""
    slope = signed(up, cell["slope_up"], cell["slope_down"])
    return bounded(w + (affine_mean_step(w, up, cell) * n) * expm1_ratio(slope * n), cell)


def exp_flow(p: ExpStepDevice, w: Float32, up: Any, cell: Cell, n: Float32) -> Float32:
    """Flow of an exponential step: the exponential term follows a logistic law."""
    range_ = cell["max_bound"] - cell["min_bound"]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        z_per_weight = np.where(range_ > 0, f32(2) * f32(p.a) / range_, f32(0))
        gamma = np.where(up, f32(p.gamma_up), f32(p.gamma_down))
        z = z_per_weight * w + f32(p.b)
        e = np.where(up, f32(p.A_up), f32(p.A_down)) * exp(np.where(up, gamma, -gamma) * z)
        rate, way = gamma * z_per_weight, np.where(up, cell["dwmin_up"], cell["dwmin_down"]) * n
        q = rate * way
        grown = e * expm1_ratio(q)
        near = way * (f32(1) - grown * log1p_ratio(q * grown))
        far = -log(np.maximum(e + (f32(1) - e) * exp(-q), SMALLEST)) / rate
    moved = np.where(np.abs(q) <= 1, near, far)
    return np.where((e < 1) & (range_ > 0), bounded(w + np.where(up, moved, -moved), cell), w)


def integrated_flow(p: PulsedDevice, w: Float32, up: Any, cell: Cell, n: Float32) -> Float32:
    """Flow of any device, by the pair of Bogacki and Shampine with substeps of each cell."""
    left, h, slope1 = n, n, mean_step(p, w, up, cell)
    for _ in range(MOST_SUBSTEPS):
        if not (left > 0).any():
            break
        h = np.minimum(h, left)
        slope2 = mean_step(p, w + (f32(0.5) * h) * slope1, up, cell)
        slope3 = mean_step(p, w + (f32(0.75) * h) * slope2, up, cell)
        third = w + h * ((f32(0.22222222) * slope1 + f32(0.33333333) * slope2) + f32(0.44444444) * slope3)
        slope4 = mean_step(p, third, up, cell)
        low = (f32(0.08333333) * slope2 - f32(0.06944444) * slope1) + (f32(0.11111111) * slope3 - f32(0.125) * slope4)
        error, allowed = np.abs(h * low), TOLERANCE * (np.abs(w) + np.abs(h * slope1))
        accept = (left > 0) & ((error <= allowed) | (h <= SHORTEST_SUBSTEP * n))
        w = np.where(accept, bounded(third, cell), w)
        slope1, left = np.where(accept, slope4, slope1), np.where(accept, left - h, left)
        h = np.where(accept, np.where(error * f32(16) <= allowed, h + h, h), f32(0.5) * h)
    return w


FLOW: dict[type[PulsedDevice], Flow] = {
    ConstantStepDevice: constant_flow,
    LinearStepDevice: affine_flow,
    SoftBoundsDevice: affine_flow,
    SoftBoundsReferenceDevice: affine_flow,
    ExpStepDevice: exp_flow,
}

#: Mean steps, not clipped; a pulse without noise takes the place of those that are missing.
MEAN_STEP: dict[type[PulsedDevice], Flow] = {
    PowStepDevice: lambda _, w, up, cell: power_law_mean_step(w, up, cell),
    PowStepReferenceDevice: lambda _, w, up, cell: power_law_mean_step(w, up, cell),
    PiecewiseStepDevice: piecewise_mean_step,
    TableStepDevice: table_mean_step,
}


def expected_pulses(p: UpdateParameters, x: Float32, d: Float32, lr: float, g: float) -> Float32:
    """Expected pulses [out, in] of one sample."""
    plan = trains.plan_train(p, f32(abs(lr)), f32(g), np.abs(x).max(), np.abs(d).max())
    res = f32(0) if p.sto_round else trains.normalised(p.res)
    px = trains.probability(x, plan.x_scale, res, f32(0))[None, :]
    pd = trains.probability(d, plan.d_scale, res, f32(0))[:, None]
    return (f32(plan.length) * px) * pd


def mean_field(
    w: Float32, cells: Cell, device: PulsedDevice, p: UpdateParameters, x: Float32, d: Float32, lr: float
) -> Float32:
    """New weights after the mean-field update with x [batch, in] and d [batch, out]."""
    device = device.resolved()
    flow: Flow = FLOW.get(type(device), integrated_flow)
    cell = prepare(device, {name: np.broadcast_to(v, w.shape) for name, v in cells.items()})
    for b in range(len(x)):
        n = expected_pulses(p, x[b], d[b], lr, granularity(device))
        up = np.signbit(d[b])[:, None] ^ np.signbit(x[b])[None, :] ^ (lr < 0)
        w = np.where(n > 0, flow(device, w, up, cell, n), w)
    return w


def bounded_rank_update(w: Float32, cells: Cell, device: PulsedDevice, x: Float32, d: Float32, lr: float) -> Float32:
    """The exact change of every sample, then the bounds."""
    cell = prepare(device.resolved(), {name: np.broadcast_to(v, w.shape) for name, v in cells.items()})
    for b in range(len(x)):
        w = bounded(fma((-f32(lr) * d[b])[:, None], x[b][None, :], w), cell)
    return w
