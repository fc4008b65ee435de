"""Which parameters each crosspoint has of its own, and the nominal change of one pulse.

The order of the names is the order in which the core receives the arrays (``core/fields.hpp``).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from .devices import (
    Device,
    ExpStepDevice,
    FloatingPointDevice,
    IdealDevice,
    LinearStepDevice,
    PiecewiseStepDevice,
    PowerLawStepDevice,
    PowStepReferenceDevice,
    PulsedDevice,
    SoftBoundsReferenceDevice,
    TableStepDevice,
)

BASE_FIELDS = (
    "max_bound",
    "min_bound",
    "dwmin_up",
    "dwmin_down",
    "decay_scales",
    "diffusion_rates",
    "reset_bias",
)


def cell_fields(device: Device) -> dict[str, bool]:
    """Names of the per-cell parameters of ``device``; True where they differ between cells and are stored per cell."""
    if not isinstance(device, PulsedDevice):
        return {}
    any_cell = device.corrupt_devices_prob > 0.0 or device.perfect_bias
    steps = any_cell or device.dw_min_dtod > 0.0 or device.up_down_dtod > 0.0
    bounds = any_cell or device.w_max_dtod > 0.0 or device.w_min_dtod > 0.0
    if isinstance(device, SoftBoundsReferenceDevice):  # a slope varies by way of its bound
        bounds = bounds or device.slope_up_dtod > 0.0 or device.slope_down_dtod > 0.0
    fields = {
        "max_bound": bounds,
        "min_bound": bounds,
        "dwmin_up": steps,
        "dwmin_down": steps,
        "decay_scales": device.lifetime > 0.0 and device.lifetime_dtod > 0.0,
        "diffusion_rates": device.diffusion > 0.0 and device.diffusion_dtod > 0.0,
        "reset_bias": device.reset_dtod > 0.0,
    }
    if isinstance(device, LinearStepDevice):
        own_bounds = bounds and not device.mean_bound_reference
        fields["slope_up"] = steps or own_bounds or device.gamma_up_dtod > 0.0
        fields["slope_down"] = steps or own_bounds or device.gamma_down_dtod > 0.0
    exponents = False
    if isinstance(device, PowerLawStepDevice):
        exponents = device.pow_gamma_dtod > 0.0 or device.pow_up_down_dtod > 0.0
        fields["gamma_up"] = fields["gamma_down"] = exponents
    if isinstance(device, (SoftBoundsReferenceDevice, PowStepReferenceDevice)):
        symmetry_point = device.subtract_symmetry_point and (bounds or steps or exponents)
        fields["reference"] = device.reference_std > 0.0 or symmetry_point
    return fields


def ideal_fields(device: Device) -> dict[str, NDArray[np.float32]]:
    """The base fields of a device without pulses: no bounds, no steps, shared by all cells."""
    scale = 1.0 - 1.0 / device.lifetime if device.lifetime > 0.0 else 1.0
    values = (math.inf, -math.inf, 0.0, 0.0, scale, device.diffusion, 0.0)
    return {name: np.full((1, 1), v, np.float32) for name, v in zip(BASE_FIELDS, values, strict=True)}


def write_noise(device: Device) -> float:
    """Standard deviation of the visible weight around the stored one; 0 where they are the same."""
    return getattr(device, "write_noise_std", 0.0) * getattr(device, "dw_min", 0.0)


def granularity(device: Device) -> float:
    """Nominal weight change of one pulse, which turns a requested change into a number of pulses; 0 without pulses."""
    if isinstance(device, (FloatingPointDevice, IdealDevice)):
        return 0.0
    if isinstance(device, ExpStepDevice):
        # The down step at w = 0. Published presets were tuned with it, so the up step stays out of it.
        exponent = min(-device.gamma_down * device.b, 700.0)
        down = device.dw_min * (1.0 - max(device.up_down, 0.0)) * max(1.0 - device.A_down * math.exp(exponent), 0.0)
        return down if down > 0.0 else device.dw_min
    if isinstance(device, PowerLawStepDevice):
        return float(device.dw_min * 0.5**device.pow_gamma)
    if isinstance(device, PiecewiseStepDevice):
        return device.dw_min * device.middle_factor
    if isinstance(device, TableStepDevice):
        return device.dw_min * device.middle_step
    return device.dw_min
