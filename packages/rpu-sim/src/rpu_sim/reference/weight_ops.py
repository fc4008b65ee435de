"""Modified copies, clipping and remapping of a weight matrix (``core/physics/weight_modifier.hpp``)."""

from __future__ import annotations

import enum
import math

import numpy as np
from numpy.typing import NDArray

from ..config import (
    WeightClipParameter,
    WeightClipType,
    WeightModifierParameter,
    WeightModifierType,
    WeightRemapParameter,
    WeightRemapType,
)
from ..streams import Stream
from . import philox
from .fmath import exp, f32, log, tanh
from .mvm import converter

Float32 = NDArray[np.float32]
SMALLEST_REFERENCE = f32(1e-30)
LANES = 16  # partial sums of a row


class ModifierDraw(enum.IntEnum):
    """Draw numbers of the stream ``WEIGHT_MODIFIER``."""

    NOISE = 0
    ROUNDING = 1
    DROP = 2
    AT_RESET = 3
    AT_GMAX = 4
    AT_RANDOM = 5
    RANDOM_VALUE = 6
    DRIFT = 7
    READ = 8


class Draws:
    """The random numbers of one modified copy."""

    def __init__(self, shape: tuple[int, int], step: int, key: int, sample: int) -> None:
        self.rows, self.columns = shape
        self.step, self.key, self.sample = step, key, sample

    def normals(self, number: ModifierDraw) -> Float32:
        return philox.normals(self.rows, self.columns, self.step, Stream.WEIGHT_MODIFIER, number, self.key, self.sample)

    def words(self, number: ModifierDraw) -> NDArray[np.uint32]:
        return philox.words(self.rows, self.columns, self.step, Stream.WEIGHT_MODIFIER, number, self.key, self.sample)

    def uniforms(self, number: ModifierDraw) -> Float32:
        return philox.uniform(self.words(number))

    def chance(self, number: ModifierDraw, probability: float) -> NDArray[np.bool_]:
        return self.uniforms(number) < f32(probability)


def polynomial(coeffs: list[np.float32], a: Float32) -> Float32:
    """Horner's rule; constant coefficient first."""
    value = np.full_like(a, coeffs[-1])
    for c in reversed(coeffs[:-1]):
        value = value * a + c
    return value


def largest_weight(w: Float32, p: WeightModifierParameter) -> np.float32:
    """A: the largest absolute weight, or the assumed one."""
    if not p.rel_to_actual_wmax:
        return f32(p.assumed_wmax)
    seen = w[:, :-1] if p.copy_last_column else w
    largest = np.abs(seen).max(initial=f32(0))
    return largest if largest > SMALLEST_REFERENCE else f32(1)


def with_sign_of(magnitude: Float32, sign: Float32) -> Float32:
    """``magnitude`` with the sign of ``sign``."""
    return np.copysign(np.abs(magnitude), sign)


def discretized(v: Float32, range_: np.float32, p: WeightModifierParameter, draw: Draws) -> Float32:
    """On the grid of ``res`` over +-``range_``."""
    grid = converter(p.res, float(range_), p.sto_round)
    rounding = draw.uniforms(ModifierDraw.ROUNDING) - f32(0.5) if grid.stochastic else f32(0)
    return grid.quantised(v, rounding)


def pcm(w: Float32, a_max: np.float32, p: WeightModifierParameter, draw: Draws) -> Float32:
    """Phase-change memory: events, programming, drift around its mean, read noise."""
    coeffs = [f32(c) for c in p.noise_polynomial]
    g = np.clip(w, -a_max, a_max) / a_max
    g = np.where(np.abs(g) <= f32(p.pcm_zero_thres) * coeffs[0], f32(0), g)
    if p.pcm_prob_at_reset > 0:
        g = np.where(draw.chance(ModifierDraw.AT_RESET, p.pcm_prob_at_reset), f32(0), g)
    if p.pcm_prob_at_gmax > 0:
        words = draw.words(ModifierDraw.AT_GMAX)
        side = np.where(words & np.uint32(1), f32(-1), f32(1))
        chosen = philox.uniform(words) < f32(p.pcm_prob_at_gmax)
        g = np.where(chosen, np.clip(g + side, f32(-1), f32(1)), g)
    if p.pcm_prob_at_random > 0:
        words = draw.words(ModifierDraw.AT_RANDOM)
        sign = np.where(g == 0, np.where(words & np.uint32(1), f32(-1), f32(1)), g)
        chosen = philox.uniform(words) < f32(p.pcm_prob_at_random)
        g = np.where(chosen, np.copysign(draw.uniforms(ModifierDraw.RANDOM_VALUE), sign), g)

    programmed = g + polynomial(coeffs, np.abs(g)) * draw.normals(ModifierDraw.NOISE)
    log_r = log(np.maximum(np.abs(programmed), f32(1e-6)))
    drifted = programmed
    log_time = f32(p.log_drift_time)
    if log_time > 0:
        spread = np.clip(f32(-0.0125) * log_r - f32(0.0059), f32(0.008), f32(0.045))
        nu = np.abs(spread * draw.normals(ModifierDraw.DRIFT))
        drifted = programmed * exp(nu * -log_time)
    q = np.minimum(f32(0.0088) / np.maximum(exp(log_r * f32(0.65)), f32(1e-3)), f32(0.2))
    read = drifted + f32(p.read_noise) * (np.abs(drifted) * q) * draw.normals(ModifierDraw.READ)
    return np.where(g == 0, f32(0), with_sign_of(read * a_max, g))


def modified(w: Float32, a_max: np.float32, p: WeightModifierParameter, draw: Draws) -> Float32:
    """The modification of one type, without the drop."""
    kind = WeightModifierType
    if p.type in (kind.DISCRETIZE, kind.DISCRETIZE_ADD_NORMAL):
        w = discretized(w, a_max, p, draw)
    if p.type in (kind.ADD_NORMAL, kind.DISCRETIZE_ADD_NORMAL):
        return w + f32(p.std_dev) * a_max * draw.normals(ModifierDraw.NOISE)
    if p.type is kind.MULT_NORMAL:
        return w * (f32(1) + f32(p.std_dev) * draw.normals(ModifierDraw.NOISE))
    if p.type is kind.DOREFA:
        factor = f32(p.dorefa_clip) / tanh(np.full(1, a_max))
        return discretized(tanh(w) * factor, f32(p.dorefa_clip), p, draw)
    if p.type in (kind.POLY, kind.PROG_NOISE):
        a = np.divide(np.abs(w), a_max, dtype=f32)
        sigma = polynomial([f32(c) for c in p.noise_polynomial], a)
        noisy = w + a_max * (sigma * draw.normals(ModifierDraw.NOISE))
        return noisy if p.type is kind.POLY else np.where(w == 0, noisy, with_sign_of(noisy, w))
    if p.type is kind.PCM_NOISE:
        return pcm(w, a_max, p, draw)
    return w


def modify(w: Float32, p: WeightModifierParameter, step: int, key: int, sample: int = 0) -> Float32:
    """A modified copy of ``w``."""
    if p.type is WeightModifierType.NONE:
        return w.copy()
    draw = Draws((w.shape[0], w.shape[1]), step, key, sample)
    out = modified(w, largest_weight(w, p), p, draw).astype(f32)
    if p.pdrop > 0:
        out = np.where(draw.chance(ModifierDraw.DROP, p.pdrop), f32(0), out)
    if p.copy_last_column and w.shape[1] > 0:
        out[:, -1] = w[:, -1]
    return out


def row_sums(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum of each row in a fixed order: 16 partial sums over the columns, then those in order."""
    rows, columns = values.shape
    padded = np.zeros((rows, -(-columns // LANES) * LANES))
    padded[:, :columns] = values
    partial = np.zeros((rows, LANES))
    for first in range(0, columns, LANES):
        partial = partial + padded[:, first : first + LANES]
    total = np.zeros(rows)
    for lane in range(LANES):
        total = total + partial[:, lane]
    return total


def in_order(values: NDArray[np.float64]) -> float:
    """Sum of a vector from its first element to its last."""
    total = 0.0
    for v in values:
        total += float(v)
    return total


def clip_bound(w: Float32, p: WeightClipParameter) -> np.float32:
    """The bound of the weights; 0 where there is none."""
    fixed = f32(p.fixed_value)
    if p.type is WeightClipType.NONE or w.size == 0:
        return f32(0)
    if p.type is WeightClipType.FIXED_VALUE:
        return max(fixed, f32(0))
    if p.type is WeightClipType.LAYER_GAUSSIAN:
        mean = in_order(row_sums(w.astype(np.float64))) / w.size
        squares = in_order(row_sums((w.astype(np.float64) - mean) ** 2))
        bound = f32(float(f32(p.sigma)) * math.sqrt(squares / (w.size - 1))) if w.size > 1 else f32(0)
    else:
        bound = f32(in_order(np.abs(w).max(axis=1).astype(np.float64)) / len(w))
    return min(bound, fixed) if fixed > 0 else bound


def clip(w: Float32, p: WeightClipParameter) -> Float32:
    """``w`` within the bound."""
    bound = clip_bound(w, p)
    return np.clip(w, -bound, bound) if bound > 0 else w.copy()


def remap(w: Float32, scales: Float32, p: WeightRemapParameter) -> tuple[Float32, Float32]:
    """Rescaled weights and scales with the same product; arithmetic in float64, rounded once."""
    if p.type is WeightRemapType.NONE:
        return w.copy(), scales.copy()
    old = scales.astype(np.float64)
    largest = np.abs(w).max(axis=1, initial=f32(0)).astype(np.float64)
    if p.type is WeightRemapType.LAYERWISE_SYMMETRIC:
        largest = np.full_like(largest, largest.max(initial=0.0))
    wmax = float(f32(p.remapped_wmax))
    active = largest > 0
    numerator, denominator = np.where(active, wmax, 1.0), np.where(active, largest, 1.0)
    new = (old * denominator / numerator).astype(f32)
    if p.max_scale_range > 0 and p.type is WeightRemapType.CHANNELWISE_SYMMETRIC:
        smallest = f32(max(float(scales.min(initial=f32(np.inf))), 0.0))
        if smallest > 0:
            limit = f32(p.max_scale_range) * max(smallest, f32(p.max_scale_ref))
            limited = active & (new > limit)
            new = np.where(limited, limit, new)
            numerator = np.where(limited, old, numerator)
            denominator = np.where(limited, new.astype(np.float64), denominator)
    return (w.astype(np.float64) * numerator[:, None] / denominator[:, None]).astype(f32), new
