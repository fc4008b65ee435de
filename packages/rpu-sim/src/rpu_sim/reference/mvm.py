"""The analog matrix-vector product and the rank update (``core/ops/mvm.cpp``, ``core/physics/{dac,adc,...}.hpp``)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..config import (
    AnalogMVType,
    BoundManagementType,
    IOParameters,
    IOParametersIRDropT,
    NoiseManagementType,
    WeightNoiseType,
)
from ..streams import Stream
from . import array, philox, time_slices
from .fmath import f32, fma, rint

Float32 = NDArray[np.float32]

DRAWS_PER_ROUND = 8
INPUT_NOISE, INPUT_ROUNDING = 0, 1
OUTPUT_NOISE, OUTPUT_ROUNDING, READ_NOISE, PULSE_READ_NOISE = 0, 1, 2, 3
AVERAGE_DECAY = f32(1e-3)
ASSUMED_LARGEST_WEIGHT = f32(0.6)
SMALLEST_SCALE = np.finfo(f32).tiny
INFINITY = f32(np.inf)


@dataclass
class Converter:
    """One quantiser and the clip behind it; ``step`` 0 is off."""

    step: np.float32
    per_unit: np.float32
    bound: np.float32
    stochastic: bool

    def quantised(self, v: Float32, rounding: Float32 | np.float32) -> Float32:
        return rint(v * self.per_unit + rounding) * self.step if self.step > 0 else v

    def clipped(self, v: Float32) -> Float32:
        v = np.where(v < self.bound, v, self.bound)
        return np.where(v > -self.bound, v, -self.bound)


def converter(resolution: float, bound: float, stochastic: bool) -> Converter:
    """The converter of ``resolution`` (fraction of the range, or number of steps) and ``bound``."""
    res, limit = f32(resolution), f32(bound)
    if not limit > 0 or np.isinf(limit):
        return Converter(f32(0), f32(0), INFINITY, False)
    if not res > 0:
        return Converter(f32(0), f32(0), limit, False)
    steps, span = (float(res) if res > 1 else 1.0 / float(res)), 2.0 * float(limit)
    if abs(steps - np.rint(steps)) <= 6e-8 * steps:
        steps = float(np.rint(steps))
    return Converter(f32(span / steps), f32(steps / span), limit, stochastic)


class Chain:
    """The signal chain of one direction."""

    def __init__(self, io: IOParameters, *, backward: bool = False, physical_inputs: int = 0) -> None:
        perfect = io.is_perfect or io.mv_type is AnalogMVType.IDEAL
        self.io = IOParameters(
            inp_res=0, inp_bound=0, out_res=0, out_bound=0, out_noise=0, out_scale=io.out_scale,
            noise_management=NoiseManagementType.NONE,
        ) if perfect else io  # fmt: skip
        self.backward = backward
        io = self.io
        self.dac = converter(io.inp_res, io.inp_bound, io.inp_sto_round)
        self.adc = converter(io.out_res, io.out_bound, io.out_sto_round)
        manages = not perfect and not backward
        self.bound_management = io.bound_management if manages else BoundManagementType.NONE
        self.noise_management = io.noise_management
        self.nm_thres = f32(0) if io.noise_management is NoiseManagementType.NONE else f32(io.nm_thres)
        self.max_dac_reduction = f32(io.max_bm_res) / self.dac.step if self.dac.step > 0 else INFINITY
        self.max_reduction = min(f32(io.max_bm_factor), self.max_dac_reduction)
        largest_code = int(np.rint(self.dac.bound * self.dac.per_unit)) if self.dac.step > 0 else 0
        self.passes = array.passes(io, largest_code)
        self.physical_inputs = physical_inputs
        self.largest_code = largest_code
        self.converts_each = len(self.passes) > 1 and io.mv_type is not AnalogMVType.POS_NEG_SEPARATE

    # -- noise management ------------------------------------------------------------------------------------------

    def limited(self, scale: Float32) -> Float32:
        return np.where((self.nm_thres > 0) & (scale > self.nm_thres), self.nm_thres, scale)

    def worst_case(self, x: Float32) -> Float32:
        a = self.limited(np.abs(x).max(axis=1))
        positive = sum16(np.where(x < 0, f32(0), x))
        negative = sum16(np.where(-x < 0, f32(0), -x))
        bound = f32(1) if np.isinf(self.adc.bound) else self.adc.bound
        t = np.maximum(positive, negative) * ASSUMED_LARGEST_WEIGHT / bound
        with np.errstate(invalid="ignore"):
            most = a * self.max_dac_reduction
            t = np.where(t > most, most, t)
        return np.where(a > t, a, t)

    def scales(self, x: Float32, mean: Float32 | None, freeze_mean: bool) -> Float32:
        """alpha of every sample; ``mean`` (one value, changed in place unless frozen) is the running mean."""
        kind, abs_max = self.noise_management, np.abs(x).max(axis=1)
        if kind is NoiseManagementType.NONE:
            return np.ones(len(x), f32)
        if kind is NoiseManagementType.CONSTANT:
            return np.full(len(x), self.nm_thres if self.nm_thres > 0 else f32(1))
        if kind is NoiseManagementType.ABS_MAX:
            return self.limited(abs_max)
        if kind is NoiseManagementType.MAX:
            return self.limited(np.maximum(x.max(axis=1), f32(0)))
        if kind is NoiseManagementType.ABS_MAX_NP_SUM:
            return self.worst_case(x)
        assert mean is not None
        alpha = np.empty(len(x), f32)
        r = mean[0]
        for i, m in enumerate(abs_max):
            if freeze_mean:
                alpha[i] = m if r == 0 else r
            else:
                r = m if r == 0 else (f32(1) - AVERAGE_DECAY) * r + AVERAGE_DECAY * m
                alpha[i] = r
        mean[0] = r
        return alpha

    # -- bound management ------------------------------------------------------------------------------------------

    def round(self, number: int) -> tuple[np.float32, bool]:
        """Reduction rho, and whether the worst-case scale is used."""
        worst = (
            self.bound_management is BoundManagementType.ITERATIVE_WORST_CASE
            and number > 0
            and self.noise_management is not NoiseManagementType.ABS_MAX_NP_SUM
        )
        return f32(2.0 ** (number - worst)), worst

    # -- one round -------------------------------------------------------------------------------------------------

    def input_path(self, x: Float32, scale: Float32, draws: Draws, part: array.Pass) -> Float32:
        stream = Stream.BACKWARD_INPUT if self.backward else Stream.FORWARD_INPUT
        shared = replace(draws, number=0)  # all passes send parts of one code
        rounding = shared.rounding(x.shape[1], stream, INPUT_ROUNDING) if self.dac.stochastic else f32(0)
        v = self.dac.clipped(self.dac.quantised(x * scale[:, None], rounding))
        if part.mask:
            v = array.part_of_code(v, part.shift, part.mask, self.dac.step, self.dac.per_unit)
        xi = draws.normals(x.shape[1], stream, INPUT_NOISE) if f32(self.io.inp_noise) > 0 else f32(0)
        return asymmetric(v + f32(self.io.inp_noise) * xi, self.io.inp_asymmetry)

    def array_pass(
        self, x: Float32, matrix: Float32, part: array.Pass, draws: Draws, constants: dict[str, Float32]
    ) -> Float32:
        """What one read of the array gives for the inputs of that pass."""
        io = self.io
        if isinstance(io, IOParametersIRDropT):
            sliced = time_slices.slice_array(io, matrix, self.physical_inputs, self.dac.step)
            grid = time_slices.pulse_grid(io, part, self.largest_code, self.dac.step, self.dac.per_unit)
            x, matrix = grid.sampled(x), sliced.matrix
        y = matmul(x, matrix)
        if isinstance(io, IOParametersIRDropT):
            y = y + sliced.idle * (grid.points * grid.per_point)
        elif f32(io.ir_drop) > 0:
            load = matmul(np.abs(x), np.abs(matrix)) * (f32(x.shape[1]) / f32(io.ir_drop_g_ratio))
            y = array.ir_dropped(y, load, matmul(x * array.places(x.shape[1]), matrix), io)
        if f32(io.v_offset_std) > 0 or f32(io.r_series) > 0:
            v = constants.get("voltage_offset", np.zeros(y.shape[1], f32))
            y = array.offset(y, sum16(x)[:, None], v, io)
        if array.has_read_noise(io):
            stream = Stream.BACKWARD_OUTPUT if self.backward else Stream.FORWARD_OUTPUT
            pcm = io.w_noise_type is WeightNoiseType.PCM_READ
            power = matmul(x * x, np.abs(matrix)) if pcm else sum16(x * x)[:, None]
            y = array.read_noisy(y, power, draws.normals(y.shape[1], stream, READ_NOISE), io)
        if isinstance(io, IOParametersIRDropT) and io.apply_xdep_pcm_read_noise and f32(sliced.noise_scale) > 0:
            stream = Stream.BACKWARD_OUTPUT if self.backward else Stream.FORWARD_OUTPUT
            mean_code = sum16(np.abs(x))[:, None] * (self.dac.per_unit / f32(x.shape[1]))
            std = time_slices.pulse_read_noise(
                mean_code, [matmul(x * x, m) for m in sliced.noise_matrices], sliced.noise_scale
            )
            y = y + std * draws.normals(y.shape[1], stream, PULSE_READ_NOISE)
        if isinstance(io, IOParametersIRDropT) and io.adc_quantization:
            y = time_slices.counted(y, sliced.counter_step)
        return y

    def output_path(self, y: Float32, draws: Draws, constants: dict[str, Float32]) -> tuple[Float32, NDArray[np.bool_]]:
        """The converted outputs, and which samples exceeded a bound that counts."""
        stream = Stream.BACKWARD_OUTPUT if self.backward else Stream.FORWARD_OUTPUT
        rounding = draws.rounding(y.shape[1], stream, OUTPUT_ROUNDING) if self.adc.stochastic else f32(0)
        xi = draws.normals(y.shape[1], stream, OUTPUT_NOISE) if f32(self.io.out_noise) > 0 else f32(0)
        if f32(self.io.out_nonlinearity) > 0 or f32(self.io.r_series) > 0:
            nl = constants.get("nonlinearity", np.zeros(y.shape[1], f32))
            y = array.saturated(y, nl, array.calibrated_gain(self.io, nl, array.finite_bound(self.io)))
        sigma = constants.get("out_noise", f32(self.io.out_noise))
        y = self.adc.quantised(asymmetric(y, self.io.out_asymmetry) + sigma * xi, rounding)
        exceeded = y > self.adc.bound
        if self.io.bm_test_negative_bound:
            exceeded |= y < -self.adc.bound
        return self.adc.clipped(y), np.any(exceeded, axis=1)

    def read(
        self, x: Float32, scale: Float32, w: Float32, draws: Draws, constants: dict[str, Float32]
    ) -> tuple[Float32, NDArray[np.bool_]]:
        """All passes of one round: the converted outputs, and which samples exceeded a bound."""
        total: Float32 = np.empty(0, f32)
        exceeded = np.zeros(len(x), bool)
        for number, part in enumerate(self.passes):
            of_pass = replace(draws, number=number)
            if number == 0 or part.mask:
                inputs = self.input_path(x, scale, of_pass, part)
            weights = w * constants["read_asymmetry"] if part.polarity < 0 and "read_asymmetry" in constants else w
            y = self.array_pass(part.signal(inputs), weights if self.backward else weights.T, part, of_pass, constants)
            if self.converts_each:
                y, over = self.output_path(y, of_pass, constants)
                exceeded |= over
            y = y * f32(1 << part.shift)
            total = y if number == 0 else total + y
        return (total, exceeded) if self.converts_each else self.output_path(total, draws, constants)


@dataclass
class Draws:
    """Where the random numbers of some samples come from."""

    key: int
    step: int
    samples: NDArray[np.uint32]  # global indices
    round: int
    number: int = 0  # of the pass

    def draw(self, kind: int) -> int:
        return (self.number << 16) + DRAWS_PER_ROUND * self.round + kind

    def normals(self, columns: int, stream: Stream, kind: int) -> Float32:
        return philox.sample_normals(self.samples, columns, self.step, stream, self.draw(kind), self.key)

    def rounding(self, columns: int, stream: Stream, kind: int) -> Float32:
        words = philox.sample_words(self.samples, columns, self.step, stream, self.draw(kind), self.key)
        return philox.uniform(words) - f32(0.5)


def asymmetric(v: Float32, asymmetry: float) -> Float32:
    """Negative values are multiplied by 1 - asymmetry."""
    return np.where(v < 0, v * (f32(1) - f32(asymmetry)), v)


def sum16(x: Float32) -> Float32:
    """Sums of rows: column j goes to partial sum j mod 16, and the partial sums are added in order."""
    padded = np.zeros((len(x), (x.shape[1] + 15) // 16 * 16), f32)
    padded[:, : x.shape[1]] = x
    parts = np.zeros((len(x), 16), f32)
    for block in padded.reshape(len(x), -1, 16).swapaxes(0, 1):
        parts = parts + block
    total = np.zeros(len(x), f32)
    for part in parts.T:
        total = total + part
    return total


CHUNK = 512  # inputs


def matmul(x: Float32, w: Float32) -> Float32:
    """x [batch, n] times w [n, m], each element the sum of chains of fused multiply-adds (``core/cpu/gemm.hpp``)."""
    y = np.zeros((len(x), w.shape[1]), f32)
    chains = 1 if len(w) < 64 else 16
    for first in range(0, len(w), CHUNK):
        end = min(first + CHUNK, len(w))
        for start in range(first, min(first + chains, end)):
            chain = np.zeros_like(y)
            for k in range(start, end, chains):
                chain = fma(x[:, k, None], w[None, k], chain)
            y = chain if chains == 1 else y + chain
    return y


def mvm(
    w: Float32,
    x: Float32,
    io: IOParameters,
    *,
    key: int,
    step: int,
    first_sample: int = 0,
    backward: bool = False,
    running_mean: Float32 | None = None,
    freeze_mean: bool = False,
    physical_inputs: int = 0,
    **constants: Float32,
) -> Float32:
    """y = W x for every row of ``x`` [batch, in], or W^T x backwards.

    Args:
        running_mean: State of ``AVERAGE_ABS_MAX``, one value that starts at 0 and is changed in place.
        freeze_mean: Use it without changing it.
        physical_inputs: Size of the array around the tile; only the time-sliced IR drop depends on it.
        constants: Result of `array.constants`.
    """
    chain = Chain(io, backward=backward, physical_inputs=physical_inputs)
    y = np.zeros((len(x), w.shape[1 if backward else 0]), f32)
    alpha = chain.scales(x, running_mean, freeze_mean)
    live = np.arange(len(x))
    if chain.noise_management is not NoiseManagementType.NONE and (backward or not f32(chain.io.inp_noise) > 0):
        live = live[alpha >= SMALLEST_SCALE]
    number = 0
    while len(live):
        reduction, worst = chain.round(number)
        a = chain.worst_case(x[live]) if worst else alpha[live]
        a = np.where(a >= SMALLEST_SCALE, a, f32(1))
        draws = Draws(key, step, ((live + first_sample) & 0xFFFFFFFF).astype(np.uint32), number)
        out, exceeded = chain.read(x[live], (f32(1) / a) * (f32(1) / reduction), w, draws, constants)
        with np.errstate(over="ignore"):
            factor = np.minimum(f32(chain.io.out_scale) * (a * reduction), np.finfo(f32).max)
        y[live] = out * factor[:, None]
        if chain.bound_management is BoundManagementType.NONE or reduction > chain.max_reduction:
            break
        live = live[exceeded]
        number += 1
    return y


def rank_update(w: Float32, x: Float32, d: Float32, lr: float) -> Float32:
    """W - lr * d^T x, sample by sample: w <- fma(-lr d, x, w)."""
    for x_row, d_row in zip(x, d, strict=True):
        w = fma((-f32(lr) * d_row)[:, None], x_row[None, :], w)
    return w
