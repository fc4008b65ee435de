"""Devices with a reference: bounds as the weight sees them, and symmetry points (``core/physics/reference.hpp``)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .fmath import f32, power

Float32 = NDArray[np.float32]
Cell = dict[str, Float32]

SYMMETRY_HALVINGS = 30
FLATTEST_SLOPE = f32(0.1)


def shifted(cell: Cell) -> Cell:
    """The cell with its bounds as the weight sees them; without a reference, the cell itself."""
    if "reference" not in cell:
        return cell
    bounds = {name: cell[name] - cell["reference"] for name in ("max_bound", "min_bound")}
    return {name: values for name, values in {**cell, **bounds}.items() if name != "reference"}


def soft_symmetry_point(b_max: Float32, b_min: Float32, s_up: Float32, s_dn: Float32) -> Float32:
    """Conductance at which the up and down step of soft bounds are equal; 0 without proper bounds or steps."""
    with np.errstate(divide="ignore", invalid="ignore"):
        slopes = s_up / b_max - s_dn / b_min
        return np.where((b_max > 0) & (b_min < 0) & (slopes != 0), (s_up - s_dn) / slopes, f32(0))


def power_law_symmetry_point(
    b_max: Float32, b_min: Float32, s_up: Float32, s_dn: Float32, gamma_up: Float32, gamma_down: Float32, halvings: int
) -> Float32:
    """The same for power steps, by bisection."""
    low, high = np.zeros_like(s_up), np.ones_like(s_up)
    for _ in range(halvings):
        v = f32(0.5) * (low + high)
        rises = s_up * power(f32(1) - v, gamma_up) > s_dn * power(v, gamma_down)
        low, high = np.where(rises, v, low), np.where(rises, high, v)
    point = b_min + (f32(0.5) * (low + high)) * (b_max - b_min)
    return np.where((b_max > 0) & (b_min < 0), point, f32(0))
