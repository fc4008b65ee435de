"""Device-to-device variation (``core/physics/population.hpp``)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..config import (
    LinearStepDevice,
    PowerLawStepDevice,
    PowStepReferenceDevice,
    PulsedDevice,
    SoftBoundsReferenceDevice,
)
from ..config.cells import cell_fields
from ..streams import Stream
from . import philox
from .fmath import exp, f32
from .reference_devices import FLATTEST_SLOPE, SYMMETRY_HALVINGS, power_law_symmetry_point, soft_symmetry_point

Float32 = NDArray[np.float32]

MAX_BOUND, MIN_BOUND, GAIN, ASYMMETRY, STUCK, STUCK_VALUE, DIFFUSION, RESET, LIFETIME = range(9)
DEVICE = 16


class Draws:
    """The population draws of a tile, by draw number."""

    def __init__(self, rows: int, columns: int, key: int) -> None:
        self.address = (rows, columns, 0, Stream.POPULATION)
        self.key = key

    def normal(self, number: int) -> Float32:
        return philox.normals(*self.address, number, self.key)

    def uniform(self, number: int) -> Float32:
        return philox.uniforms(*self.address, number, self.key)


def slope(gamma: Float32, step: Float32, reference: Any) -> Float32:
    """Slope that makes the step vanish at ``reference`` for gamma = 1; 0 where there is no reference."""
    reference = np.broadcast_to(reference, step.shape)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(reference == 0, f32(0), -gamma * step / reference)


def populate(p: PulsedDevice, rows: int, columns: int, key: int) -> dict[str, Float32]:
    """Every per-cell parameter of a tile; shape (1, 1) where all cells share it."""
    p = p.resolved()
    draw = Draws(rows, columns, key)
    one = np.ones((rows, columns), f32)
    b_max = f32(p.w_max) * (f32(1) + f32(p.w_max_dtod) * draw.normal(MAX_BOUND))
    b_min = f32(p.w_min) * (f32(1) + f32(p.w_min_dtod) * draw.normal(MIN_BOUND))
    spread = f32(p.dw_min_dtod) * draw.normal(GAIN)
    excess = f32(0.5) * (f32(p.dw_min_dtod) * f32(p.dw_min_dtod)) if p.dw_min_dtod_mean_preserving else f32(0)
    gain = exp(spread - excess) if p.dw_min_dtod_log_normal else f32(1) + spread
    r = f32(p.up_down_dtod) * draw.normal(ASYMMETRY)
    s_up = f32(p.dw_min) * ((f32(min(p.up_down, 0.0)) + gain) + r)
    s_dn = f32(p.dw_min) * ((f32(0.0 - max(p.up_down, 0.0)) + gain) - r)

    crossed = b_min > b_max
    if p.enforce_consistency:
        s_up, s_dn = np.abs(s_up), np.abs(s_dn)
        b_max, b_min = np.abs(np.where(crossed, b_min, b_max)), -np.abs(np.where(crossed, b_max, b_min))
    else:
        middle = f32(0.5) * (b_min + b_max)
        b_max, b_min = np.where(crossed, middle, b_max), np.where(crossed, middle, b_min)

    if p.corrupt_devices_prob > 0:
        stuck = draw.uniform(STUCK) < f32(p.corrupt_devices_prob)
        lo = np.maximum(b_min, f32(-p.corrupt_devices_range))
        hi = np.minimum(b_max, f32(p.corrupt_devices_range))
        value = lo + (hi - lo) * draw.uniform(STUCK_VALUE)
        b_max, b_min = np.where(stuck, value, b_max), np.where(stuck, value, b_min)
        s_up, s_dn = np.where(stuck, f32(0), s_up), np.where(stuck, f32(0), s_dn)
    if p.perfect_bias:
        b_max[:, -1], b_min[:, -1] = f32(100) * f32(p.w_max), f32(100) * f32(p.w_min)
        s_up[:, -1], s_dn[:, -1] = f32(p.dw_min), f32(p.dw_min)

    rate, bias, scale = one * f32(p.diffusion), one * f32(p.reset), one
    if p.diffusion_dtod > 0:
        rate = np.abs(f32(p.diffusion) * (f32(1) + f32(p.diffusion_dtod) * draw.normal(DIFFUSION)))
    if p.reset_dtod > 0:
        bias = f32(p.reset) + f32(p.reset_dtod) * draw.normal(RESET)
    if p.lifetime > 0:
        lifetime = one * f32(p.lifetime)
        if p.lifetime_dtod > 0:
            lifetime = f32(p.lifetime) * (f32(1) + f32(p.lifetime_dtod) * draw.normal(LIFETIME))
        with np.errstate(divide="ignore"):
            scale = np.where(lifetime > 1, f32(1) - f32(1) / lifetime, f32(0))

    own: list[Float32] = []
    if isinstance(p, LinearStepDevice):
        own = linear_slopes(p, b_max, b_min, s_up, s_dn, draw)
    if isinstance(p, PowerLawStepDevice):
        own = power_law_exponents(p, draw)
    if isinstance(p, SoftBoundsReferenceDevice):
        b_max, b_min = soft_bounds_slopes(p, b_max, b_min, draw)
        point = soft_symmetry_point(b_max, b_min, s_up, s_dn) if p.subtract_symmetry_point else None
        own = [reference(p, point, draw)]
    if isinstance(p, PowStepReferenceDevice):
        point = None
        if p.subtract_symmetry_point:
            halvings = p.n_estimation_steps if p.n_estimation_steps > 0 else SYMMETRY_HALVINGS
            point = power_law_symmetry_point(b_max, b_min, s_up, s_dn, own[0], own[1], halvings)
        own = [*own, reference(p, point, draw)]
    values = [b_max, b_min, s_up, s_dn, scale, rate, bias, *own]
    return {
        name: value if varies else value[:1, :1].copy()
        for (name, varies), value in zip(cell_fields(p).items(), values, strict=True)
    }


def linear_slopes(
    p: LinearStepDevice, b_max: Float32, b_min: Float32, s_up: Float32, s_dn: Float32, draw: Draws
) -> list[Float32]:
    """The slopes of ``LinearStep``."""
    gamma_up = f32(p.gamma_up) + f32(p.gamma_up_dtod) * draw.normal(DEVICE)
    gamma_down = f32(p.gamma_down) + f32(p.gamma_down_dtod) * draw.normal(DEVICE + 1)
    if not p.allow_increasing:
        gamma_up, gamma_down = np.abs(gamma_up), np.abs(gamma_down)
    high = np.full_like(s_up, p.w_max) if p.mean_bound_reference else b_max
    low = np.full_like(s_up, p.w_min) if p.mean_bound_reference else b_min
    offset = f32(p.reverse_offset)
    return [
        slope(gamma_up, s_up, low - offset if p.reverse_up else high),
        slope(gamma_down, s_dn, high + offset if p.reverse_down else low),
    ]


def power_law_exponents(p: PowerLawStepDevice, draw: Draws) -> list[Float32]:
    """The exponents of power steps, up and down."""
    gain = f32(1) + f32(p.pow_gamma_dtod) * draw.normal(DEVICE)
    r = f32(p.pow_up_down_dtod) * draw.normal(DEVICE + 1)
    gamma_up = f32(p.pow_gamma) * ((f32(min(p.pow_up_down, 0.0)) + gain) + r)
    gamma_down = f32(p.pow_gamma) * ((f32(0.0 - max(p.pow_up_down, 0.0)) + gain) - r)
    return [np.abs(gamma_up), np.abs(gamma_down)] if p.enforce_consistency else [gamma_up, gamma_down]


def soft_bounds_slopes(
    p: SoftBoundsReferenceDevice, b_max: Float32, b_min: Float32, draw: Draws
) -> tuple[Float32, Float32]:
    """The bounds with the spread of the slopes in them."""
    f_down = np.maximum(np.abs(f32(1) + f32(p.slope_down_dtod) * draw.normal(DEVICE)), FLATTEST_SLOPE)
    f_up = np.maximum(np.abs(f32(1) + f32(p.slope_up_dtod) * draw.normal(DEVICE + 1)), FLATTEST_SLOPE)
    proper = (b_max > 0) & (b_min < 0)
    return np.where(proper, b_max / f_up, b_max), np.where(proper, b_min / f_down, b_min)


def reference(p: Any, symmetry_point: Float32 | None, draw: Draws) -> Float32:
    """The reference of each cell."""
    r: Float32 = f32(p.reference_mean) + f32(p.reference_std) * draw.normal(DEVICE + 2)
    return r if symmetry_point is None else r + symmetry_point
