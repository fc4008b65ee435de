"""What one pulse does on average (``core/physics/pulse_law.hpp``): law(device, w, up, cell)."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..config import (
    ExpStepDevice,
    LinearStepDevice,
    PiecewiseStepDevice,
    PowerLawStepDevice,
    PulsedDevice,
    SoftBoundsDevice,
    SoftBoundsReferenceDevice,
)
from .devices import Cell, affine_mean_step, node_position, power_law_distance, power_law_mean_step, signed
from .fmath import exp2, f32

Float32 = NDArray[np.float32]


class PulseLaw(NamedTuple):
    """Mean and standard deviation of the change by a pulse, and their derivatives by the weight."""

    change: Float32
    spread: Float32
    bend: Float32
    spread_bend: Float32


def proportional(change: Float32, bend: Float32, sigma: float) -> PulseLaw:
    """Where the noise scales with the step."""
    return PulseLaw(change, change * f32(sigma), bend, bend * f32(sigma))


def propagate(law: PulseLaw, mean: Float32, variance: Float32) -> tuple[Float32, Float32]:
    """Mean and variance of the weight after one more pulse with the law at its mean."""
    gain = f32(1) + law.bend
    grown = (gain * gain + law.spread_bend * law.spread_bend) * variance + law.spread * law.spread
    return mean + law.change, grown


def affine_law(p: Any, w: Float32, up: Any, cell: Cell) -> PulseLaw:
    """A step that is an affine function of the weight."""
    change, slope = affine_mean_step(w, up, cell), signed(up, cell["slope_up"], cell["slope_down"])
    if p.mult_noise:
        return proportional(change, slope, p.dw_min_std)
    step = signed(up, cell["dwmin_up"], cell["dwmin_down"])
    return PulseLaw(change, step * f32(p.dw_min_std), slope, np.zeros_like(w))


def affine_moments(p: Any, mean: Float32, variance: Float32, up: Any, cell: Cell) -> tuple[Float32, Float32]:
    """Mean and variance of the weight after one more pulse, away from the bounds."""
    return propagate(affine_law(p, mean, up, cell), mean, variance)


def exp_law(p: ExpStepDevice, w: Float32, up: Any, cell: Cell) -> PulseLaw:
    """A step that depends exponentially on the weight, the exponential term as a power of two."""
    range_ = cell["max_bound"] - cell["min_bound"]
    log2_e, sigma = f32(1.44269504), f32(p.dw_min_std)
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        z_per_weight = np.where(range_ > 0, f32(2) * f32(p.a) / range_, f32(0))
        rate = np.where(up, f32(p.gamma_up), -f32(p.gamma_down))
        power = exp2((rate * log2_e * z_per_weight) * w + rate * log2_e * f32(p.b))
        e = np.where(up, f32(p.A_up), f32(p.A_down)) * power
        moves = (e < 1) & (range_ > 0)
        step = np.where(moves, signed(up, cell["dwmin_up"], cell["dwmin_down"]), f32(0))
        change, bend = step - e * step, -(rate * z_per_weight) * (e * step)
        slope = sigma * f32(p.dw_min_std_slope)
        own = np.where(moves, sigma * f32(p.dw_min_std_add) + slope * np.abs(w), f32(0))
        own_bend = np.where(moves, slope, f32(0))
        spread, spread_bend = change * sigma + np.copysign(own, step), bend * sigma + np.copysign(own_bend, step * w)
        return PulseLaw(change, spread, bend, spread_bend)


def exp_moments(p: ExpStepDevice, mean: Float32, variance: Float32, up: Any, cell: Cell) -> tuple[Float32, Float32]:
    """Mean and variance of the weight after one more pulse, linearised around the mean."""
    return propagate(exp_law(p, mean, up, cell), mean, variance)


def power_law_law(p: PowerLawStepDevice, w: Float32, up: Any, cell: Cell) -> PulseLaw:
    """A step that is a power of the distance to the bound."""
    away, per_range = power_law_distance(w, up, cell)
    change = power_law_mean_step(w, up, cell)
    bend = np.where(up, -cell["gamma_up"], cell["gamma_down"]) * per_range * change / away
    return proportional(change, np.where(away > 0, bend, f32(0)), p.dw_min_std)


def piecewise_law(p: PiecewiseStepDevice, w: Float32, up: Any, cell: Cell) -> PulseLaw:
    """A step interpolated between nodes from bound to bound."""
    step = signed(up, cell["dwmin_up"], cell["dwmin_down"])
    nodes = np.array(p.piecewise_up if up else p.piecewise_down, f32)
    if len(nodes) == 1:
        return proportional(step * nodes[0], np.zeros_like(w), p.dw_min_std)
    range_ = cell["max_bound"] - cell["min_bound"]
    t_per_weight = np.where(range_ > 0, f32(len(nodes) - 1) / range_, f32(0))
    i, f = node_position((w - cell["min_bound"]) * t_per_weight, len(nodes))
    low, high = nodes[i], nodes[i + 1]
    change = step * ((f32(1) - f) * low + f * high)
    return proportional(change, step * ((high - low) * t_per_weight), p.dw_min_std)


#: Devices whose moments also serve for ``CycleNoiseType.PER_UPDATE``.
MOMENTS: dict[type[PulsedDevice], Any] = {
    LinearStepDevice: affine_moments,
    SoftBoundsDevice: affine_moments,
    SoftBoundsReferenceDevice: affine_moments,
    ExpStepDevice: exp_moments,
}
