"""The digital buffer between two arrays of a compound (``core/ops/transfer.cpp``)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .fmath import f32

Float32 = NDArray[np.float32]
LARGEST = np.finfo(np.float32).max


def take_steps(
    read: Float32,
    buffer: Float32,
    out_sign: Float32,
    gain: float,
    *,
    threshold: float,
    most_steps: float,
    kept: float,
    forgets: bool,
    keeps: bool = True,
    cap: float = 0.0,
) -> tuple[Float32, Float32]:
    """Steps taken out of the buffer of one slice after a read, and what is left in it."""
    with np.errstate(over="ignore"):
        gathered = (buffer if keeps else np.zeros_like(buffer)) + f32(gain) * (out_sign * read)
    gathered = np.clip(gathered, -LARGEST, LARGEST)
    steps = np.clip(np.trunc(gathered / f32(threshold)), -f32(most_steps), f32(most_steps))
    rest = f32(kept) * gathered if forgets else gathered - ((f32(1) - f32(kept)) * steps) * f32(threshold)
    left = np.where(steps != 0, rest, gathered)
    return steps, np.clip(left, -f32(cap), f32(cap)) if cap > 0 else left


def follow_zero(
    read: Float32, mean: Float32, past: Float32, mean_weight: float, *, starts_phase: bool
) -> tuple[Float32, Float32, Float32]:
    """The read against the zero of its phase, the new running mean, and that zero."""
    past = mean.copy() if starts_phase else past
    return read - past, (f32(1) - f32(mean_weight)) * mean + f32(mean_weight) * read, past


def take_whole_steps(
    chi: Float32, threshold: float, most: float, first: int, n_rows: int
) -> tuple[NDArray[np.int32], Float32]:
    """Whole steps out of ``n_rows`` rows from ``first`` on, with the sign of the weight's change, and the chi left."""
    chosen = (np.arange(len(chi)) - first) % len(chi) < n_rows
    steps = np.trunc(np.clip(chi / f32(threshold), -f32(most), f32(most))) * chosen[:, None]
    return -steps.astype(np.int32), chi - steps.astype(np.float32) * f32(threshold)
