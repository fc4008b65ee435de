"""What the array does between DAC and ADC, one function per effect, as in the headers of ``core/physics``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..config import AnalogMVType, IOParameters, WeightNoiseType
from ..streams import Stream
from . import philox
from .fmath import f32, rint

Float32 = NDArray[np.float32]

DRAW_VOLTAGE_OFFSET, DRAW_NONLINEARITY, DRAW_READ_ASYMMETRY, DRAW_OUT_NOISE = range(4)


# -- effects ----------------------------------------------------------------------------------------------------------


def part_of_code(v: Float32, shift: int, mask: int, step: np.float32, per_unit: np.float32) -> Float32:
    """Some bits of the code of every input, with its sign."""
    code = rint(np.abs(v) * per_unit).astype(np.uint32)
    part: Float32 = np.copysign(((code >> np.uint32(shift)) & np.uint32(mask)).astype(f32) * step, v)
    return part


def ir_dropped(y: Float32, load: Float32, placed: Float32, io: IOParameters) -> Float32:
    """``load`` is n sum |w| |x| / g_ratio, ``placed`` the sum that is weighted with `places`."""
    c: Float32 = load * np.asarray(load * (f32(0.05) * load - f32(0.2)) + f32(0.5), f32)
    return y - f32(io.ir_drop) * (c * placed)


def places(inputs: int) -> Float32:
    """How much each input sees of the drop: 1 - (1 - j / n)^2."""
    near = 1.0 - np.arange(inputs) / inputs
    return (1.0 - near * near).astype(f32)


def in_series(u: Float32, r_series: np.float32) -> Float32:
    """The current u behind a series resistance."""
    return u / (f32(1) + r_series * np.abs(u))


def offset(y: Float32, total: Float32, v: Float32, io: IOParameters) -> Float32:
    """Voltage offsets ``v`` and series resistance, relative to a reference device; ``total`` sums the inputs."""
    reference, r = -f32(io.v_offset_w_min) * total, f32(io.r_series)
    return (f32(1) - v) * in_series(y + reference, r) - (f32(1) + v) * in_series(reference, r)


def read_noisy(y: Float32, power: Float32, xi: Float32, io: IOParameters) -> Float32:
    """Read noise of the weights; ``power`` is the sum under the root."""
    return y + f32(io.w_noise) * np.sqrt(power) * xi


def saturated(y: Float32, nl: Float32, gain: np.float32) -> Float32:
    """The nonlinearity of strength ``nl``."""
    result: Float32 = gain * y / (f32(1) + np.abs(nl * y))
    return result


def calibrated_gain(io: IOParameters, nl: Float32, bound: np.float32) -> np.float32:
    """F of the nonlinearity: 1 / slope at ``slope_calibration`` times the bound."""
    if not f32(io.slope_calibration) > 0:
        return f32(1)
    mean = float(np.add.accumulate(nl.astype(np.float64))[-1]) / len(nl)
    root = 1.0 + (mean + float(f32(io.r_series))) * float(f32(io.slope_calibration) * bound)
    return f32(root * root)


# -- passes -----------------------------------------------------------------------------------------------------------


@dataclass
class Pass:
    """One read of the array: part of the code, and which polarity of the inputs."""

    shift: int = 0
    mask: int = 0  # 0 is the whole code
    polarity: int = 0  # -1 and 1: only inputs of that sign

    def signal(self, x: Float32) -> Float32:
        if self.polarity == 0:
            return x
        return np.where(x < 0 if self.polarity < 0 else x > 0, x, f32(0))


def passes(io: IOParameters, largest_code: int) -> list[Pass]:
    """The passes of one product."""
    if io.mv_type in (AnalogMVType.POS_NEG_SEPARATE, AnalogMVType.POS_NEG_SEPARATE_DIGITAL_SUM):
        return [Pass(polarity=-1), Pass(polarity=1)]
    if io.mv_type is AnalogMVType.SPLIT_MODE:
        shift = io.split_mode_bit_shift
        return [Pass(0, (1 << shift) - 1), Pass(shift, 0xFFFFFFFF)]
    if io.mv_type is AnalogMVType.BIT_WISE:
        return [Pass(bit, 1) for bit in range(largest_code.bit_length())]
    return [Pass()]


# -- constants --------------------------------------------------------------------------------------------------------


def finite_bound(io: IOParameters) -> np.float32:
    """The bound of the ADC, 1 if there is none."""
    return f32(io.out_bound) if 0 < io.out_bound < np.inf else f32(1)


def constants(io: IOParameters, shape: tuple[int, int], key: int, *, backward: bool = False) -> dict[str, Float32]:
    """The arrays that are drawn once per tile, for weights of ``shape``; only those that ``io`` needs."""
    stream = Stream.BACKWARD_CONSTANTS if backward else Stream.FORWARD_CONSTANTS
    found: dict[str, Any] = {}
    if io.is_perfect or io.mv_type is AnalogMVType.IDEAL:
        return found

    def normals(number: int) -> Float32:
        row: Float32 = philox.normals(1, shape[1 if backward else 0], 0, stream, number, key)[0]
        return row

    if f32(io.out_noise_std) > 0:
        found["out_noise"] = np.abs(f32(io.out_noise) * (f32(1) + f32(io.out_noise_std) * normals(DRAW_OUT_NOISE)))
    if f32(io.out_nonlinearity) > 0:
        strength = f32(io.out_nonlinearity) / finite_bound(io)
        spread = f32(io.out_nonlinearity_std) * normals(DRAW_NONLINEARITY)
        found["nonlinearity"] = np.abs(strength * (f32(1) + spread))
    if f32(io.v_offset_std) > 0:
        v = f32(io.v_offset_std) * normals(DRAW_VOLTAGE_OFFSET)
        found["voltage_offset"] = np.where(v < 0, f32(0), v)
    if f32(io.w_read_asymmetry_dtod) > 0:
        xi = philox.normals(*shape, 0, stream, DRAW_READ_ASYMMETRY, key)
        found["read_asymmetry"] = f32(1) + f32(io.w_read_asymmetry_dtod) * xi
    return found


def has_read_noise(io: IOParameters) -> bool:
    """Whether the weights have read noise."""
    return bool(f32(io.w_noise) > 0) and io.w_noise_type is not WeightNoiseType.NONE
