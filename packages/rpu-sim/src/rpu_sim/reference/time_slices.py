"""Time-sliced IR drop (``core/physics/{ladder,pulse_width,charge_counter}.hpp``, ``core/ops/time_slices.cpp``)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..config import IOParametersIRDropT
from .array import Pass
from .fmath import f32, log, rint

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

READ_STEP, IDLE_VOLTAGE = 0.2, 0.4  # V
LEAST_CONDUCTANCE = 1e-12  # uS


def f64(value: float) -> float:
    """A parameter as the core has it: rounded to float32."""
    return float(f32(value))


@dataclass
class PulseGrid:
    """Points in time at which the pulses of a pass are read."""

    points: np.float32
    points_per_unit: np.float32
    per_point: np.float32
    edge: np.float32

    def sampled(self, x: Float32) -> Float32:
        end = np.abs(x) * self.points_per_unit - f32(1e-3)
        r = rint(end)
        count = np.where(r < end, r + f32(1), r)
        count = np.where(count < self.points, count, self.points)
        count = np.where(count > 0, count, f32(0))
        first = np.where(count > 0, self.edge, f32(0))
        last = np.where(count >= self.points, self.edge, f32(0))
        return np.copysign((count + first - last) * self.per_point, x)


def pulse_grid(
    io: IOParametersIRDropT, part: Pass, largest_code: int, step: np.float32, per_unit: np.float32
) -> PulseGrid:
    """The points of one pass: as many as codes, times the scale."""
    codes = largest_code >> part.shift
    codes = min(codes, part.mask) if part.mask else codes
    points = max(2.0, np.floor((codes + 1.0) * f64(io.ir_drop_time_step_resolution_scale)))
    per_code = (points - 1.0) / codes
    edge = f32(0) if io.ir_drop_integration_sum else f32(0.5)
    return PulseGrid(f32(points), f32(per_code * float(per_unit)), f32(float(step) / per_code), edge)


def counted(y: Float32, step: np.float32) -> Float32:
    """Whole units of charge, rounded towards zero."""
    units = np.abs(y / step)
    whole = rint(units)
    return np.copysign(np.where(whole > units, whole - f32(1), whole) * step, y)


SLOPE = [f32(c) for c in (2.1926e-4, -1.87352e-3, 6.55714e-3, -1.46159e-2, 2.578764e-2)]
OFFSET = [f32(c) for c in (1.11906167e-3, -9.08576764e-3, 3.07015063e-2, -6.77079241e-2, 1.17763144e-1)]  # uS


def quartic(u: Float32, coefficients: list[np.float32]) -> Float32:
    """A polynomial, highest power first."""
    y = np.full_like(u, coefficients[0])
    for c in coefficients[1:]:
        y = y * u + c
    return y


def pulse_read_noise(mean_code: Float32, sums: list[Float32], scale: np.float32) -> Float32:
    """Standard deviation of the outputs for the mean code [sample, 1] of a pass and its sums with `noise_matrices`."""
    u = log(np.where(mean_code < f32(1e-30), f32(1e-30), mean_code)) * f32(0.43429448)
    slope, offset = quartic(u, SLOPE), quartic(u, OFFSET)
    variance = slope * slope * sums[0] + slope * offset * sums[1] + offset * offset * sums[2]
    return scale * np.sqrt(np.where(variance < 0, f32(0), variance))


def ladder_factors(conductance: Float64, wire: float) -> tuple[Float64, Float64]:
    """Factors a [output, segment] and resistance [output] for conductances G [output, segment], far end first."""
    factors = np.empty_like(conductance)
    r = 1.0 / (conductance[:, 0] + LEAST_CONDUCTANCE)
    factors[:, 0] = r
    for s in range(1, conductance.shape[1]):
        before = r + wire
        damping = 1.0 / (1.0 + before * (conductance[:, s] + LEAST_CONDUCTANCE))
        r = before * damping
        factors[:, :s] *= damping[:, None]
        factors[:, s] = r
    r = r + 0.5 * wire
    return factors / r[:, None], r


@dataclass
class SlicedArray:
    """The damped weights [input, output], what idle inputs add per point in time, and the unit of the counter."""

    matrix: Float32
    idle: Float32
    counter_step: np.float32
    noise_matrices: list[Float32]  # M2, M1 and M0 of the read noise that depends on the pulses
    noise_scale: np.float32


def slice_array(io: IOParametersIRDropT, matrix: Float32, physical_inputs: int, step: np.float32) -> SlicedArray:
    """The array of weights ``matrix`` [input, output] behind its ladders."""
    inputs, outputs = matrix.shape
    largest = np.abs(matrix).max()
    kappa = (f64(io.ir_drop_g_max) - f64(io.ir_drop_g_min)) / (float(largest) if largest > 0 else 1.0)
    per_segment = -(-max(physical_inputs, inputs) // io.ir_drop_segments)
    physical = per_segment * io.ir_drop_segments
    position = (physical - inputs) // 2 + np.arange(inputs)
    segment = np.where(
        (np.arange(outputs) % 2 == 0)[:, None], position // per_segment, (physical - 1 - position) // per_segment
    )
    conductance = np.zeros((outputs, io.ir_drop_segments))
    for j in range(inputs):
        g = kappa * np.abs(matrix[j].astype(np.float64)) + 2.0 * f64(io.ir_drop_g_min)
        conductance[np.arange(outputs), segment[:, j]] += g
    wire = float(f32(1e-6) * f32(io.ir_drop) * f32(io.ir_drop_rs)) * per_segment
    factors, r = ladder_factors(conductance, wire)
    idle = (IDLE_VOLTAGE - f64(io.ir_drop_v_read)) / (r * READ_STEP * kappa)
    a = np.take_along_axis(factors, segment, axis=1).T
    g = kappa * np.abs(matrix.astype(np.float64))
    noise = [
        (a * g * (a * g)).astype(f32),
        (2.0 * (a * a) * g).astype(f32),
        np.where(matrix != 0, a * a, 0).astype(f32),
    ]
    unit = float(f32(100) / f32(io.adc_frequency)) if io.adc_quantization else 0.0
    counter_step = f32(unit / (READ_STEP * kappa) * float(step))
    scale = f32(f64(io.xdep_pcm_read_noise_scale) / kappa)
    return SlicedArray(matrix * a.astype(f32), idle.astype(f32), counter_step, noise, scale)
