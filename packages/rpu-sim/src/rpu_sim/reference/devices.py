"""One pulse of each device, as in the headers of ``core/physics``: pulse(device, w, up, cell, xi) -> w."""

from __future__ import annotations

from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from ..config import (
    AffineStepDevice,
    ConstantStepDevice,
    ExpStepDevice,
    LinearStepDevice,
    PiecewiseStepDevice,
    PowerLawStepDevice,
    PowStepDevice,
    PowStepReferenceDevice,
    PulsedDevice,
    SoftBoundsDevice,
    SoftBoundsReferenceDevice,
    TableStepDevice,
)
from .fmath import exp, f32, power
from .population import slope
from .reference_devices import shifted

Float32 = NDArray[np.float32]
Cell = dict[str, Float32]


def bounded(w: Float32, cell: Cell) -> Float32:
    """Clip to the bounds of the cell."""
    return np.maximum(cell["min_bound"], np.minimum(cell["max_bound"], w))


def signed(up: Any, rise: Float32, fall: Float32) -> Float32:
    """The up value, or minus the down value."""
    return np.where(up, rise, -fall)


def constant_step(p: ConstantStepDevice, w: Float32, up: Any, cell: Cell, xi: Float32) -> Float32:
    """A step that does not depend on the weight."""
    step = signed(up, cell["dwmin_up"], cell["dwmin_down"])
    return bounded(w + step * (f32(1) + f32(p.dw_min_std) * xi), cell)


def soft_bounds_slopes(p: SoftBoundsDevice, cell: Cell) -> Cell:
    """The slopes that follow from the bounds."""
    offset, one = f32(p.reverse_offset), np.ones_like(cell["dwmin_up"])
    up_reference = cell["min_bound"] - offset if p.reverse_up else cell["max_bound"]
    down_reference = cell["max_bound"] + offset if p.reverse_down else cell["min_bound"]
    return {
        **cell,
        "slope_up": slope(one, cell["dwmin_up"], up_reference),
        "slope_down": slope(one, cell["dwmin_down"], down_reference),
    }


def soft_bounds_reference_slopes(cell: Cell) -> Cell:
    """Slopes and steps as functions of the weight, which is the conductance minus the reference."""
    b_max, b_min, s_up, s_dn = (cell[name] for name in ("max_bound", "min_bound", "dwmin_up", "dwmin_down"))
    with np.errstate(divide="ignore", invalid="ignore"):
        slope_up = np.where(b_max > 0, -s_up / b_max, f32(0))
        slope_down = np.where(b_min < 0, -s_dn / b_min, f32(0))
    r = cell["reference"]
    at_zero = {"at_zero_up": s_up + slope_up * r, "at_zero_down": s_dn + slope_down * r}
    return {**shifted(cell), "slope_up": slope_up, "slope_down": slope_down, **at_zero}


def affine_mean_step(w: Float32, up: Any, cell: Cell) -> Float32:
    """The mean step at weight ``w``."""
    at_zero = signed(up, cell.get("at_zero_up", cell["dwmin_up"]), cell.get("at_zero_down", cell["dwmin_down"]))
    return at_zero + signed(up, cell["slope_up"], cell["slope_down"]) * w


def affine_step(p: Any, w: Float32, up: Any, cell: Cell, xi: Float32) -> Float32:
    """A step that is an affine function of the weight."""
    mean = affine_mean_step(w, up, cell)
    step = signed(up, cell["dwmin_up"], cell["dwmin_down"])
    noise = (mean if p.mult_noise else step) * (f32(p.dw_min_std) * xi)
    return bounded(w + (mean + noise), cell)


def exp_step(p: ExpStepDevice, w: Float32, up: Any, cell: Cell, xi: Float32) -> Float32:
    """A step that depends exponentially on the weight."""
    range_ = cell["max_bound"] - cell["min_bound"]
    with np.errstate(divide="ignore"):
        z_per_weight = np.where(range_ > 0, f32(2) * f32(p.a) / range_, f32(0))
    z = z_per_weight * w + f32(p.b)
    amplitude = np.where(up, f32(p.A_up), f32(p.A_down))
    exponent = np.where(up, f32(p.gamma_up), -f32(p.gamma_down)) * z
    y = np.maximum(f32(1) - amplitude * exp(exponent), f32(0))
    delta = y * signed(up, cell["dwmin_up"], cell["dwmin_down"])
    amount = delta
    if p.dw_min_std_add != 0 or p.dw_min_std_slope != 0:
        amount = np.abs(delta) + (f32(p.dw_min_std_add) + f32(p.dw_min_std_slope) * np.abs(w))
    moved = bounded(w + (delta + amount * (f32(p.dw_min_std) * xi)), cell)
    return np.where((y > 0) & (cell["max_bound"] > cell["min_bound"]), moved, w)


def power_law_distance(w: Float32, up: Any, cell: Cell) -> tuple[Float32, Float32]:
    """Relative distance to the bound that a pulse goes to, and the inverse of the range."""
    range_ = cell["max_bound"] - cell["min_bound"]
    with np.errstate(divide="ignore"):
        per_range = np.where(range_ > 0, f32(1) / range_, f32(0))
    distance = np.where(up, cell["max_bound"] - w, w - cell["min_bound"]) * per_range
    return np.clip(distance, f32(0), f32(1)), per_range


def power_law_mean_step(w: Float32, up: Any, cell: Cell) -> Float32:
    """The mean step at weight ``w``."""
    factor = power(power_law_distance(w, up, cell)[0], np.where(up, cell["gamma_up"], cell["gamma_down"]))
    return signed(up, cell["dwmin_up"], cell["dwmin_down"]) * factor


def power_law_step(p: PowerLawStepDevice, w: Float32, up: Any, cell: Cell, xi: Float32) -> Float32:
    """A step that is a power of the distance to the bound."""
    return bounded(w + power_law_mean_step(w, up, cell) * (f32(1) + f32(p.dw_min_std) * xi), cell)


def node_position(t: Float32, nodes: int) -> tuple[NDArray[np.int32], Float32]:
    """Index and fraction of a position between equidistant nodes; a single node has index 0."""
    inside = np.clip(t, f32(0), f32(nodes - 1))
    index = np.minimum(inside.astype(np.int32), np.int32(max(nodes - 2, 0)))
    return index, inside - index.astype(f32)


def piecewise_mean_step(p: PiecewiseStepDevice, w: Float32, up: Any, cell: Cell) -> Float32:
    """The mean step at weight ``w``."""
    nodes = [np.array(values, f32) for values in (p.piecewise_up, p.piecewise_down)]
    factors = [np.broadcast_to(values[0], w.shape) for values in nodes]
    if len(nodes[0]) > 1:
        range_ = cell["max_bound"] - cell["min_bound"]
        with np.errstate(divide="ignore"):
            t_per_weight = np.where(range_ > 0, f32(len(nodes[0]) - 1) / range_, f32(0))
        i, f = node_position((w - cell["min_bound"]) * t_per_weight, len(nodes[0]))
        factors = [(f32(1) - f) * values[i] + f * values[i + 1] for values in nodes]
    return signed(up, cell["dwmin_up"], cell["dwmin_down"]) * np.where(up, *factors)


def piecewise_step(p: PiecewiseStepDevice, w: Float32, up: Any, cell: Cell, xi: Float32) -> Float32:
    """A step interpolated between nodes from bound to bound."""
    return bounded(w + piecewise_mean_step(p, w, up, cell) * (f32(1) + f32(p.dw_min_std) * xi), cell)


def table_quantile(table: Float32, i: Any, f: Float32, j: Any, h: Any) -> Float32:
    """The quantile at position ``h`` behind column ``j``, between row ``i`` and the next."""
    low = (f32(1) - h) * table[i, j] + h * table[i, j + 1]
    if len(table) == 1:
        return low  # type: ignore[no-any-return]
    high = (f32(1) - h) * table[i + 1, j] + h * table[i + 1, j + 1]
    return (f32(1) - f) * low + f * high  # type: ignore[no-any-return]


def table_row(rows: int, w: Float32, cell: Cell) -> tuple[NDArray[np.int32], Float32]:
    """The position of a weight between the rows of a table."""
    range_ = cell["max_bound"] - cell["min_bound"]
    with np.errstate(divide="ignore"):
        rows_per_weight = np.where(range_ > 0, f32(rows) / range_, f32(0))
    return node_position((w - cell["min_bound"]) * rows_per_weight - f32(0.5), rows)


def table_mean_step(p: TableStepDevice, w: Float32, up: Any, cell: Cell) -> Float32:
    """Mean of the steps of a table."""
    means = []
    for table in (np.array(p.step_up, f32), np.array(p.step_down, f32)):
        i, f = table_row(len(table), w, cell)
        total = np.zeros_like(w)
        for j in range(table.shape[1] - 1):
            total = total + table_quantile(table, i, f, j, f32(0.5))
        means.append(total / f32(table.shape[1] - 1))
    return np.where(up, cell["dwmin_up"] * means[0], cell["dwmin_down"] * means[1])


def table_step(p: TableStepDevice, w: Float32, up: Any, cell: Cell, u: Float32) -> Float32:
    """A step drawn from a table of quantiles by the uniform number ``u``."""
    tables = [np.array(table, f32) for table in (p.step_up, p.step_down)]
    i, f = table_row(len(tables[0]), w, cell)
    j, h = node_position(u * f32(tables[0].shape[1] - 1), tables[0].shape[1])
    rise = cell["dwmin_up"] * table_quantile(tables[0], i, f, j, h)
    fall = cell["dwmin_down"] * table_quantile(tables[1], i, f, j, h)
    return bounded(w + np.where(up, rise, fall), cell)


def is_noisy(p: PulsedDevice) -> bool:
    """Whether pulses draw random numbers at all."""
    return p.dw_min_std > 0 or isinstance(p, TableStepDevice)


def prepare(p: PulsedDevice, cell: Cell) -> Cell:
    """Cell parameters with those that a device derives from the stored ones, and bounds as the weight sees them."""
    if isinstance(p, SoftBoundsReferenceDevice):
        return soft_bounds_reference_slopes(cell)
    return soft_bounds_slopes(p, cell) if isinstance(p, SoftBoundsDevice) else shifted(cell)


def is_gaussian(p: PulsedDevice) -> TypeGuard[AffineStepDevice]:
    """Whether any number of pulses leaves the weight exactly Gaussian (away from the bounds)."""
    if not isinstance(p, (AffineStepDevice, SoftBoundsReferenceDevice)):
        return False
    return not p.mult_noise or p.dw_min_std == 0


PULSE: dict[type[PulsedDevice], Any] = {
    ConstantStepDevice: constant_step,
    LinearStepDevice: affine_step,
    SoftBoundsDevice: affine_step,
    SoftBoundsReferenceDevice: affine_step,
    ExpStepDevice: exp_step,
    PowStepDevice: power_law_step,
    PowStepReferenceDevice: power_law_step,
    PiecewiseStepDevice: piecewise_step,
    TableStepDevice: table_step,
}
