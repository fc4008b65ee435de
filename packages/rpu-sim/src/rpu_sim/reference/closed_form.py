"""All pulses of a batch at once, from their numbers and order (``core/physics/closed_form.hpp``)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..config import (
    ExpStepDevice,
    LinearStepDevice,
    PiecewiseStepDevice,
    PowStepDevice,
    PowStepReferenceDevice,
    PulsedDevice,
    SoftBoundsDevice,
    SoftBoundsReferenceDevice,
)
from .devices import Cell
from .fmath import f32
from .pulse_law import PulseLaw, affine_law, exp_law, piecewise_law, power_law_law

Float32 = NDArray[np.float32]
BOUND_MARGIN = f32(6)


class PulseNumbers(NamedTuple):
    """Pulses of each cell, and the share of the pairs of an up and a down pulse in which the up pulse comes first."""

    n_up: NDArray[np.int32]
    n_down: NDArray[np.int32]
    up: Float32
    down: Float32
    order: Float32


class Powers(NamedTuple):
    """Of g = 1 + bend: the sum of its powers up to g^(n-1), and the last of them."""

    sum: Float32
    last: Float32


def powers(bend: Float32, n: NDArray[np.int32]) -> Powers:
    """By repeated squaring."""
    left = np.where(n > 1, n - np.int32(1), np.int32(0))
    total, block = np.zeros_like(bend), np.ones_like(bend)
    with np.errstate(over="ignore", invalid="ignore"):
        while (left > 0).any():
            total = np.where((left & 1) != 0, total + block * (f32(1) + bend * total), total)
            block = block * (f32(2) + bend * block)
            left = left >> 1
        last = f32(1) + bend * total
        return Powers(np.where(n > 0, total + last, f32(0)), last)


def after_affine(p: Any, w: Float32, n: PulseNumbers, up: PulseLaw, down: PulseLaw) -> tuple[Float32, Float32]:
    """Mean and variance after affine steps."""
    u, d = powers(up.bend, n.n_up), powers(down.bend, n.n_down)
    up_first, down_first = n.order, f32(1) - n.order
    rise, fall = u.sum * up.change, d.sum * down.change
    bent_up, bent_down = down_first * (up.bend * u.sum), up_first * (down.bend * d.sum)
    mean = w + ((rise + fall) + (bent_down * rise + bent_up * fall))
    if p.mult_noise:
        a_up = u.last * (up.spread * (f32(1) + bent_down) + down_first * (up.spread_bend * fall))
        a_down = d.last * (down.spread * (f32(1) + bent_up) + up_first * (down.spread_bend * rise))
        bends = n.up * (up.spread_bend * up.spread_bend) + n.down * (down.spread_bend * down.spread_bend)
        return mean, (n.up * (a_up * a_up) + n.down * (a_down * a_down)) * (f32(1) + f32(0.5) * bends)
    a_up, a_down = up.spread * (f32(1) + bent_down), down.spread * (f32(1) + bent_up)
    u2 = powers(up.bend * (f32(2) + up.bend), n.n_up)
    d2 = powers(down.bend * (f32(2) + down.bend), n.n_down)
    return mean, u2.sum * (a_up * a_up) + d2.sum * (a_down * a_down)


class FlowOfPulses(NamedTuple):
    """Right side of the flow, for the variance as growth times the variance plus noise."""

    mean: Float32
    growth: Float32
    noise: Float32


def flow_of_pulses(up: PulseLaw, down: PulseLaw, n: PulseNumbers) -> FlowOfPulses:
    rise, fall = n.up * up.change, n.down * down.change
    bend_up, bend_down = n.up * up.bend, n.down * down.bend
    steps = rise * (f32(1) - f32(0.5) * up.bend) + fall * (f32(1) - f32(0.5) * down.bend)
    commutator = rise * bend_down - fall * bend_up
    growth = (bend_up * (f32(2) - up.bend) + n.up * (up.spread_bend * up.spread_bend)) + (
        bend_down * (f32(2) - down.bend) + n.down * (down.spread_bend * down.spread_bend)
    )
    a_up, a_down = up.spread * (f32(1) - up.bend), down.spread * (f32(1) - down.bend)
    noise = n.up * (a_up * a_up) + n.down * (a_down * a_down)
    return FlowOfPulses(steps + (n.order - f32(0.5)) * commutator, growth, noise)


def along_flow(
    p: PulsedDevice, w: Float32, cell: Cell, n: PulseNumbers, up: PulseLaw, down: PulseLaw
) -> tuple[Float32, Float32]:
    """Mean and variance by one step of Bogacki and Shampine's third-order method."""
    law = PULSE_LAW[type(p)]
    first = flow_of_pulses(up, down, n)
    w2 = w + f32(0.5) * first.mean
    second = flow_of_pulses(law(p, w2, True, cell), law(p, w2, False, cell), n)
    noise2 = second.growth * (f32(0.5) * first.noise) + second.noise
    w3 = w + f32(0.75) * second.mean
    third = flow_of_pulses(law(p, w3, True, cell), law(p, w3, False, cell), n)
    noise3 = third.growth * (f32(0.75) * noise2) + third.noise
    mean = w + ((f32(0.22222222) * first.mean + f32(0.33333333) * second.mean) + f32(0.44444444) * third.mean)
    return mean, (f32(0.22222222) * first.noise + f32(0.33333333) * noise2) + f32(0.44444444) * noise3


def far_from_bounds(w: Float32, cell: Cell, n: PulseNumbers, up: PulseLaw, down: PulseLaw) -> NDArray[np.bool_]:
    """Where no path comes near a bound, and no step changes too much on the way."""
    zero, rise, fall = f32(0), n.up * up.change, n.down * down.change
    bend_up, bend_down = n.up * up.bend, n.down * down.bend
    grown = np.maximum(bend_up, zero) + np.maximum(bend_down, zero)
    growth = (f32(1) + grown) + grown * grown
    a_up = np.abs(up.spread) + np.abs(up.spread_bend * fall)
    a_down = np.abs(down.spread) + np.abs(down.spread_bend * rise)
    widest = (growth * growth) * (n.up * (a_up * a_up) + n.down * (a_down * a_down))
    above = cell["max_bound"] - (w + growth * (np.maximum(rise, zero) + np.maximum(fall, zero)))
    below = (w + growth * (np.minimum(rise, zero) + np.minimum(fall, zero))) - cell["min_bound"]
    gap = np.minimum(above, below)
    far: NDArray[np.bool_] = (
        (gap >= 0)
        & (gap * gap >= (BOUND_MARGIN * BOUND_MARGIN) * widest)
        & (np.abs(bend_up) + np.abs(bend_down) <= 1)
    )
    return far


def closed_form(
    p: PulsedDevice, w: Float32, cell: Cell, n: PulseNumbers, xi: Float32
) -> tuple[Float32, NDArray[np.bool_]]:
    """The weight after all pulses, and which cells need their pulses one by one."""
    law = PULSE_LAW[type(p)]
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        up, down = law(p, w, True, cell), law(p, w, False, cell)
        affine = isinstance(p, (LinearStepDevice, SoftBoundsDevice, SoftBoundsReferenceDevice))
        mean, variance = after_affine(p, w, n, up, down) if affine else along_flow(p, w, cell, n, up, down)
        merges = far_from_bounds(w, cell, n, up, down) & (mean >= cell["min_bound"]) & (mean <= cell["max_bound"])
        spread: Float32 = np.sqrt(np.where(variance > 0, variance, f32(0)))
        return mean + spread * xi, ~merges


#: Devices whose pulses ``CycleNoiseType.CLOSED_FORM`` only counts; constant steps are counted anyway.
PULSE_LAW: dict[type[PulsedDevice], Callable[..., PulseLaw]] = {
    LinearStepDevice: affine_law,
    SoftBoundsDevice: affine_law,
    SoftBoundsReferenceDevice: affine_law,
    ExpStepDevice: exp_law,
    PowStepDevice: power_law_law,
    PowStepReferenceDevice: power_law_law,
    PiecewiseStepDevice: piecewise_law,
}
