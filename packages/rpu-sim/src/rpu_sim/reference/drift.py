"""Power-law drift (``core/physics/drift.hpp``)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..config import DriftParameter
from ..streams import Stream
from . import philox
from .devices import Cell, bounded
from .fmath import exp, f32, log

Float32 = NDArray[np.float32]

EXPONENT_NOISE, READ_NOISE = range(2)
POPULATION_NU = 9
LEAST_CONDUCTANCE = f32(1e-6)


@dataclass
class Memory:
    """What cells remember: age since they were written, weight then, weight last seen."""

    age: Float32
    start: Float32
    seen: Float32


def exponents(p: DriftParameter, rows: int, columns: int, key: int) -> Float32:
    """The exponent of each cell; shape (1, 1) where all cells share it."""
    if p.nu_dtod == 0.0:
        return np.full((1, 1), p.nu, f32)
    return f32(p.nu) * (
        f32(1) + f32(p.nu_dtod) * philox.normals(rows, columns, 0, Stream.POPULATION, POPULATION_NU, key)
    )


def factor(p: DriftParameter, w: Float32, age: Float32, nu: Float32) -> Float32:
    """tau^-nu of cells at weight ``w``."""
    if p.nu_k != 0.0:
        g = np.maximum((w - f32(p.w_offset)) / f32(p.wg_ratio) + f32(p.g_offset), LEAST_CONDUCTANCE)
        nu = nu - f32(p.nu_k) * (log(g) - f32(p.log_g0))
    return exp(-nu * log(np.maximum(age, f32(1))))


def drift(
    p: DriftParameter, w: Float32, m: Memory, nu: Float32, cell: Cell, delta_t: float, step: int, key: int
) -> tuple[Float32, Memory]:
    """Weights and memory after ``delta_t``."""
    rows, columns = w.shape
    duration, offset = f32(delta_t / p.t_0), f32(p.g_offset) * f32(p.wg_ratio) + f32(p.w_offset)
    if abs(offset) < f32(p.reset_tol):
        offset = f32(0)
    first = m.age < 0
    anew = ~first & (np.abs(m.seen - w) > f32(p.reset_tol))
    age = np.where(anew, f32(0), np.where(first, duration, m.age + duration))
    start = np.where(first | anew, w, m.start)
    if p.nu_std > 0.0:
        nu = nu * (f32(1) + f32(p.nu_std) * philox.normals(rows, columns, step, Stream.DRIFT, EXPONENT_NOISE, key))
    f = factor(p, w, age, np.broadcast_to(nu, w.shape))
    moved = np.where(anew, w, start * f + offset * (f - f32(1)))
    if p.w_noise_std > 0.0:
        moved = moved + f32(p.w_noise_std) * philox.normals(rows, columns, step, Stream.DRIFT, READ_NOISE, key)
    moved = bounded(moved, cell)
    return moved, Memory(age, start, moved)


def follow(p: DriftParameter, before: Float32, w: Float32, m: Memory, nu: Float32) -> Memory:
    """Memory after a change from ``before`` to ``w`` by a process that is no write."""
    follows = (m.age >= 0) & (np.abs(m.seen - before) <= f32(p.reset_tol))
    f = factor(p, before, m.age, np.broadcast_to(nu, w.shape))
    return Memory(m.age, np.where(follows, m.start + (w - before) / f, m.start), np.where(follows, w, m.seen))
