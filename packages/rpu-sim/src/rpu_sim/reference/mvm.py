"""The analog matrix-vector product and the rank update (``core/ops/mvm.cpp``, ``core/physics/{dac,adc,...}.hpp``)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..config import AnalogMVType, BoundManagementType, IOParameters, NoiseManagementType
from ..streams import Stream
from . import philox
from .fmath import f32, fma, rint

Float32 = NDArray[np.float32]

DRAWS_PER_ROUND = 8
INPUT_NOISE, INPUT_ROUNDING = 0, 1
OUTPUT_NOISE, OUTPUT_ROUNDING = 0, 1
DRAW_OUT_NOISE = 3
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

    def __init__(self, io: IOParameters, *, backward: bool = False) -> None:
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

    def input_path(self, x: Float32, scale: Float32, draws: Draws) -> Float32:
        stream = Stream.BACKWARD_INPUT if self.backward else Stream.FORWARD_INPUT
        rounding = draws.rounding(x.shape[1], stream, INPUT_ROUNDING) if self.dac.stochastic else f32(0)
        v = self.dac.clipped(self.dac.quantised(x * scale[:, None], rounding))
        xi = draws.normals(x.shape[1], stream, INPUT_NOISE) if self.io.inp_noise > 0 else f32(0)
        return asymmetric(v + f32(self.io.inp_noise) * xi, self.io.inp_asymmetry)

    def output_path(self, y: Float32, draws: Draws, out_noise: Float32 | None) -> tuple[Float32, NDArray[np.bool_]]:
        """The converted outputs, and which samples exceeded a bound that counts."""
        stream = Stream.BACKWARD_OUTPUT if self.backward else Stream.FORWARD_OUTPUT
        rounding = draws.rounding(y.shape[1], stream, OUTPUT_ROUNDING) if self.adc.stochastic else f32(0)
        xi = draws.normals(y.shape[1], stream, OUTPUT_NOISE) if self.io.out_noise > 0 else f32(0)
        sigma = f32(self.io.out_noise) if out_noise is None else out_noise
        y = self.adc.quantised(asymmetric(y, self.io.out_asymmetry) + sigma * xi, rounding)
        exceeded = y > self.adc.bound
        if self.io.bm_test_negative_bound:
            exceeded |= y < -self.adc.bound
        return self.adc.clipped(y), np.any(exceeded, axis=1)


@dataclass
class Draws:
    """Where the random numbers of some samples come from."""

    key: int
    step: int
    samples: NDArray[np.uint32]  # global indices
    round: int

    def normals(self, columns: int, stream: Stream, kind: int) -> Float32:
        return philox.sample_normals(
            self.samples, columns, self.step, stream, DRAWS_PER_ROUND * self.round + kind, self.key
        )

    def rounding(self, columns: int, stream: Stream, kind: int) -> Float32:
        number = DRAWS_PER_ROUND * self.round + kind
        return philox.uniform(philox.sample_words(self.samples, columns, self.step, stream, number, self.key)) - f32(
            0.5
        )


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


def matmul(x: Float32, w: Float32) -> Float32:
    """x [batch, n] times w [n, m]: one chain of fused multiply-adds over n for every element."""
    y = np.zeros((len(x), w.shape[1]), f32)
    for k in range(w.shape[0]):
        y = fma(x[:, k, None], w[None, k], y)
    return y


def out_noise_constants(io: IOParameters, outputs: int, key: int, *, backward: bool = False) -> Float32:
    """Standard deviation of the output noise of every output, drawn once per tile."""
    stream = Stream.BACKWARD_CONSTANTS if backward else Stream.FORWARD_CONSTANTS
    xi = philox.normals(1, outputs, 0, stream, DRAW_OUT_NOISE, key)[0]
    constants: Float32 = np.abs(f32(io.out_noise) * (f32(1) + f32(io.out_noise_std) * xi))
    return constants


def mvm(
    w: Float32,
    x: Float32,
    io: IOParameters,
    *,
    key: int,
    step: int,
    first_sample: int = 0,
    backward: bool = False,
    out_noise: Float32 | None = None,
    running_mean: Float32 | None = None,
    freeze_mean: bool = False,
) -> Float32:
    """y = W x for every row of ``x`` [batch, in], or W^T x backwards.

    Args:
        out_noise: Result of `out_noise_constants`, if ``io.out_noise_std > 0``.
        running_mean: State of ``AVERAGE_ABS_MAX``, one value that starts at 0 and is changed in place.
    """
    chain = Chain(io, backward=backward)
    matrix = w if backward else w.T
    y = np.zeros((len(x), matrix.shape[1]), f32)
    alpha = chain.scales(x, running_mean, freeze_mean)
    live = np.arange(len(x))
    if chain.noise_management is not NoiseManagementType.NONE and (backward or not chain.io.inp_noise > 0):
        live = live[alpha >= SMALLEST_SCALE]
    number = 0
    while len(live):
        reduction, worst = chain.round(number)
        a = chain.worst_case(x[live]) if worst else alpha[live]
        a = np.where(a >= SMALLEST_SCALE, a, f32(1))
        draws = Draws(key, step, ((live + first_sample) & 0xFFFFFFFF).astype(np.uint32), number)
        inputs = chain.input_path(x[live], (f32(1) / a) * (f32(1) / reduction), draws)
        out, exceeded = chain.output_path(matmul(inputs, matrix), draws, out_noise)
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
