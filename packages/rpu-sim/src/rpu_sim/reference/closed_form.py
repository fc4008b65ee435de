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
    own_up: Any = up.spread * (f32(1) + bent_down)
    own_down: Any = down.spread * (f32(1) + bent_up)
    u2 = powers(up.bend * (f32(2) + up.bend), n.n_up)
    d2 = powers(down.bend * (f32(2) + down.bend), n.n_down)
    variance: Float32 = u2.sum * (own_up * own_up) + d2.sum * (own_down * own_down)
    return mean, variance


class FlowOfPulses(NamedTuple):
    """Right side of the flow and its derivative; for the variance, growth times the variance plus noise."""

    mean: Float32
    bend: Float32
    growth: Float32
    noise: Float32


def flow_of_pulses(up: PulseLaw, down: PulseLaw, n: PulseNumbers) -> FlowOfPulses:
    """Right side of the flow, from the laws at one weight."""
    rise, fall = n.up * up.change, n.down * down.change
    bend_up, bend_down = n.up * up.bend, n.down * down.bend
    part_up, part_down = f32(1) - f32(0.5) * up.bend, f32(1) - f32(0.5) * down.bend
    tilt, commutator = n.order - f32(0.5), rise * bend_down - fall * bend_up
    mean = (rise * part_up + fall * part_down) + tilt * commutator
    bend = bend_up * part_up + bend_down * part_down
    growth = n.up * (up.spread_bend * up.spread_bend) + n.down * (down.spread_bend * down.spread_bend)
    a_up = up.spread * ((f32(1) - up.bend) + tilt * bend_down) - (tilt * fall) * up.spread_bend
    a_down = down.spread * ((f32(1) - down.bend) - tilt * bend_up) + (tilt * rise) * down.spread_bend
    return FlowOfPulses(mean, bend, (bend + bend) + growth, n.up * (a_up * a_up) + n.down * (a_down * a_down))


def along_flow(
    p: PulsedDevice, w: Float32, cell: Cell, n: PulseNumbers, up: PulseLaw, down: PulseLaw
) -> tuple[Float32, Float32]:
    """Mean and variance by one step of a method that uses derivatives."""
    law = PULSE_LAW[type(p)]
    start = flow_of_pulses(up, down, n)
    curve = start.mean * start.bend
    halfway = w + (f32(0.5) * start.mean + f32(0.125) * curve)
    middle = flow_of_pulses(law(p, halfway, True, cell), law(p, halfway, False, cell), n)
    mean = w + (start.mean + (f32(0.16666667) * curve + f32(0.33333333) * (middle.mean * middle.bend)))
    r = middle.growth
    grown = (f32(1) + r * (f32(0.5) + r * (f32(0.16666667) + r * f32(0.041666667)))) + (r - start.growth) * f32(
        0.16666667
    )
    return mean, middle.noise * grown - (middle.noise - start.noise) * (r * f32(0.16666667))


def far_from_bounds(
    w: Float32, cell: Cell, n: PulseNumbers, up: PulseLaw, down: PulseLaw, most_bend: float
) -> NDArray[np.bool_]:
    """Where no path comes near a bound, and no step changes too much on the way."""
    way = n.up * np.abs(up.change) + n.down * np.abs(down.change)
    bend = n.up * np.abs(up.bend) + n.down * np.abs(down.bend)
    growth = (f32(1) + bend) + bend * bend
    a_up = np.abs(up.spread) + np.abs(up.spread_bend) * way
    a_down = np.abs(down.spread) + np.abs(down.spread_bend) * way
    widest = n.up * (a_up * a_up) + n.down * (a_down * a_down)
    gap = np.minimum(cell["max_bound"] - w, w - cell["min_bound"]) - growth * way
    margin = BOUND_MARGIN * growth
    far: NDArray[np.bool_] = (gap >= 0) & (gap * gap >= (margin * margin) * widest) & (bend <= f32(most_bend))
    return far


def passes_kinks(
    p: PulsedDevice, w: Float32, cell: Cell, n: PulseNumbers, up: PulseLaw, down: PulseLaw
) -> NDArray[np.bool_]:
    """Where no kink lies on the way, or one that moves the weight by less than a tenth of a standard deviation."""
    law = PULSE_LAW[type(p)]
    way = n.up * np.abs(up.change) + n.down * np.abs(down.change)
    low, high = w - way, w + way
    kink_up = law(p, high, True, cell).bend - law(p, low, True, cell).bend
    kink_down = law(p, high, False, cell).bend - law(p, low, False, cell).bend
    off = (f32(0.33333333) * way) * (n.up * np.abs(kink_up) + n.down * np.abs(kink_down))
    passes: NDArray[np.bool_] = off * off <= f32(0.01) * (
        n.up * (up.spread * up.spread) + n.down * (down.spread * down.spread)
    )
    return passes


def closed_form(
    p: PulsedDevice, w: Float32, cell: Cell, n: PulseNumbers, xi: Float32
) -> tuple[Float32, NDArray[np.bool_]]:
    """The weight after all pulses, and which cells need their pulses one by one."""
    law = PULSE_LAW[type(p)]
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        up, down = law(p, w, True, cell), law(p, w, False, cell)
        affine = isinstance(p, (LinearStepDevice, SoftBoundsDevice, SoftBoundsReferenceDevice))
        mean, variance = after_affine(p, w, n, up, down) if affine else along_flow(p, w, cell, n, up, down)
        far = far_from_bounds(w, cell, n, up, down, 1.0 if affine else 0.5)
        if isinstance(p, PiecewiseStepDevice):
            far &= passes_kinks(p, w, cell, n, up, down)
        merges = far & (mean >= cell["min_bound"]) & (mean <= cell["max_bound"])
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
