"""Pulse management and pulse trains (``core/physics/pulse_management.hpp``, ``pulse_train.hpp``)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..config import UpdateParameters
from ..streams import Stream
from . import philox
from .fmath import f32, rint

Float32 = NDArray[np.float32]
DIRECT_SLOTS = 8


def normalised(resolution: float) -> np.float32:
    """A resolution above 1 is a number of steps; 0 or less is off."""
    if resolution <= 0:
        return f32(0)
    return f32(1) / f32(resolution) if resolution > 1 else f32(resolution)


@dataclass
class Plan:
    """Length and probability scales of the trains of one sample."""

    length: int
    x_scale: np.float32
    d_scale: np.float32


def plan_train(p: UpdateParameters, lr: np.float32, g: np.float32, x_max: np.float32, d_max: np.float32) -> Plan:
    """Pulse management of one sample with largest elements ``x_max`` and ``d_max``; ``lr`` is positive."""
    longest = f32(p.desired_bl)
    manages = p.update_management or p.update_bl_management
    if x_max == 0 or d_max == 0:
        return Plan(0, f32(0), f32(0))
    balance = f32(p.um_grad_scale) * d_max
    with np.errstate(over="ignore"):
        k = lr * x_max * balance / g
    length = np.ceil(k) if p.update_bl_management and k < longest else longest
    if not manages and not p.fixed_bl and g * longest < lr:
        return Plan(int(np.ceil(lr / g)), f32(1), f32(1))
    if not length > 0:
        return Plan(0, f32(0), f32(0))
    if manages and k > longest:
        most = np.finfo(f32).max
        with np.errstate(over="ignore", divide="ignore"):
            x_scale = (f32(1) + np.finfo(f32).eps) / x_max  # never below 1 after rounding
            d_scale = lr / (g * longest) * x_max
        return Plan(int(longest), min(x_scale, most), min(d_scale, most))
    scale = np.sqrt(lr / (g * length))
    if not manages:
        return Plan(int(length), scale, scale)
    return Plan(int(length), scale * np.sqrt(balance / x_max), scale * np.sqrt(x_max / balance))


def probability(values: Float32, scale: np.float32, resolution: np.float32, rounding: Any) -> Float32:
    """Probability of a pulse per slot, quantised if a resolution is set."""
    p = np.abs(values) * scale
    if resolution > 0:
        p = resolution * rint(p / resolution + rounding)
    return np.clip(p, f32(0), f32(1))


def rounding_of(p: UpdateParameters, res: np.float32, n: int, sample: int, step: int, stream: Stream, key: int) -> Any:
    """What stochastic rounding adds before rint: uniform in [-1/2, 1/2), or 0."""
    if res > 0 and p.sto_round:
        word = philox.sample_words(np.array([sample], np.uint32), n, step, stream, 0, key)[0]
        return philox.uniform(word) - f32(0.5)
    return f32(0)


def train(values: Float32, plan_length: int, prob: Float32, sample: int, step: int, stream: Stream, key: int) -> Any:
    """Firing slots of each line for one sample: bool [length, lines]."""
    threshold = (prob * f32(16777216.0)).astype(np.int64)

    def draws(n: int) -> NDArray[np.uint32]:
        samples = np.full(n, sample, np.uint32)
        return philox.sample_words(samples, values.size, step, stream, np.arange(n, dtype=np.uint32), key)

    if plan_length <= DIRECT_SLOTS:
        return (draws(plan_length) >> np.uint32(8)).astype(np.int64) < threshold
    words = (plan_length + 31) // 32
    bits = draws(24 * words).reshape(words, 24, 1, values.size)
    slots = np.arange(32, dtype=np.uint32)[:, None]
    uniform = np.zeros((words, 32, values.size), np.int64)  # the 24-bit uniforms of 32 slots, assembled bit by bit
    for bit in range(24):
        uniform |= ((bits[:, bit] >> slots) & 1).astype(np.int64) << (23 - bit)
    return (uniform < threshold).reshape(32 * words, values.size)[:plan_length]
