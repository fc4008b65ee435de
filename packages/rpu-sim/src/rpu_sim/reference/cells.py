"""Lifecycle of the weights, and their initial values (``core/physics/lifecycle.hpp``)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..streams import Stream
from . import philox
from .devices import Cell, bounded
from .fmath import f32

Float32 = NDArray[np.float32]


def initial_weights(rows: int, columns: int, low: float, high: float, key: int) -> Float32:
    """Uniform in [low, high)."""
    u = philox.uniforms(rows, columns, 0, Stream.INITIAL_WEIGHTS, 0, key)
    return f32(low) + (f32(high) - f32(low)) * u


def decay(w: Float32, cell: Cell, alpha: float) -> Float32:
    """w <- (w - b)(1 + alpha (delta - 1)) + b."""
    bias, scale = cell["reset_bias"], cell["decay_scales"]
    return bounded((w - bias) * (f32(1) + f32(alpha) * (scale - f32(1))) + bias, cell)


def diffuse(w: Float32, cell: Cell, step: int, key: int) -> Float32:
    """w <- w + rho xi."""
    rows, columns = w.shape
    xi = philox.normals(rows, columns, step, Stream.DIFFUSION, 0, key)
    return bounded(w + cell["diffusion_rates"] * xi, cell)


def reset(
    w: Float32, cell: Cell, first: int, n_columns: int, prob: float, spread: float, step: int, key: int
) -> Float32:
    """w <- b + sigma xi in a window of columns that wraps around, with probability ``prob``."""
    rows, columns = w.shape
    xi = philox.normals(rows, columns, step, Stream.RESET, 0, key)
    u = philox.uniforms(rows, columns, step, Stream.RESET, 1, key)
    inside = (np.arange(columns) - first) % columns < n_columns
    chosen = inside[None, :] & (u < f32(prob))
    return bounded(np.where(chosen, cell["reset_bias"] + f32(spread) * xi, w), cell)
