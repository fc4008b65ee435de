"""Time-sliced IR drop: its closed forms, and a plain simulation of every moment, segment and column."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from analog import Product, clean

from rpu_sim import Tile
from rpu_sim.config import (
    AnalogMVType,
    IdealDevice,
    IOParameters,
    IOParametersIRDropT,
    MappingParameter,
    NoiseManagementType,
    SingleRPUConfig,
)
from rpu_sim.errors import ConfigError

RNG = np.random.default_rng(2)
L = 127  # largest code
OUT, IN = 5, 48
W = RNG.uniform(-0.8, 0.8, (OUT, IN)).astype(np.float32)
W[2, 3] = 1.0  # the largest
X = (np.rint(RNG.uniform(-1, 1, IN) * L) / L).astype(np.float32)
CODES = np.rint(X.astype(np.float64) * L)
QUIET: dict[str, Any] = {
    "inp_res": 1 / 254, "out_bound": -1.0, "out_noise": 0.0, "ir_drop_v_read": 0.4,
    "noise_management": NoiseManagementType.NONE, "adc_quantization": False,
}  # fmt: skip
MV = AnalogMVType


@pytest.fixture(params=[False, True], ids=["forward", "backward"])
def backward(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def product(backward: bool, w: Any = W, x: Any = X, physical: int = 64, **fields: Any) -> np.ndarray:
    io = IOParametersIRDropT(**{**QUIET, **fields})
    io.check()
    matrix = np.asarray(w, np.float32)
    p = Product(io, matrix.T if backward else matrix, backward=backward, physical=physical)
    return p(np.atleast_2d(np.asarray(x, np.float32)))[0].astype(np.float64)


# -- closed forms without resistance of the wire ----------------------------------------------------------------------


@pytest.mark.parametrize("kind", [MV.ONE_PASS, MV.SPLIT_MODE, MV.BIT_WISE])
def test_a_sum_over_time_is_the_product(kind: AnalogMVType, backward: bool) -> None:
    y = product(backward, mv_type=kind, ir_drop=0.0)
    np.testing.assert_allclose(y, W.astype(np.float64) @ X, atol=1e-5)


def test_the_trapezoid_rule_adds_half_a_step_per_pass(backward: bool) -> None:
    """Q-T9 and Q-T11: in every pass the first point counts 3/2."""
    w = W.astype(np.float64)
    bits = [(b, 1) for b in range(7)]
    for kind, parts in ((MV.ONE_PASS, [(0, 127)]), (MV.SPLIT_MODE, [(0, 7), (3, 15)]), (MV.BIT_WISE, bits)):
        extra = np.zeros(OUT)
        for shift, mask in parts:
            part = (np.abs(CODES).astype(int) >> shift) & mask
            extra += 2.0**shift * 0.5 * (w @ (np.sign(CODES) * (part > 0))) / L
        y = product(backward, mv_type=kind, ir_drop=0.0, ir_drop_integration_sum=False)
        np.testing.assert_allclose(y, w @ X + extra, atol=1e-5)
        assert np.abs(extra).max() > 1e-3
    bitwise = product(backward, mv_type=MV.BIT_WISE, ir_drop=0.0, ir_drop_integration_sum=False)
    np.testing.assert_allclose(bitwise, 1.5 * (w @ X), atol=1e-5)


def test_offset_of_the_read_voltage(backward: bool) -> None:
    """Q-T10: v_read = 0.4 + e gives -(e / 0.2) sum_j |w_ij| T / L, T = 128 points."""
    y = product(backward, ir_drop=0.0, ir_drop_v_read=0.4005)
    w = W.astype(np.float64)
    offset = -(0.0005 / 0.2) * np.abs(w).sum(1) * 128 / L
    assert np.abs(offset).min() > 0.02
    np.testing.assert_allclose(y, w @ X + offset, atol=1e-5)


def test_charge_is_counted_towards_zero(backward: bool) -> None:
    """Steps of 100 / (f kappa 0.2 L) = 0.0252 for 25 uS at weight 1."""
    y = product(backward, ir_drop=0.0, adc_quantization=True)
    step = 100 / (6.24 * 25.0 * 0.2 * L)
    expected = step * np.trunc(W.astype(np.float64) @ X / step)
    np.testing.assert_allclose(y, expected, atol=1e-5)
    np.testing.assert_allclose(product(backward, x=-X, ir_drop=0.0, adc_quantization=True), -expected, atol=1e-5)


def test_finer_points_in_time_keep_the_scale(backward: bool) -> None:
    """Twice the points, or a tenth of them, change the grid of the pulses and not their size."""
    for scale, grid in ((2.0, 255), (0.1, 11)):
        y = product(backward, ir_drop=0.0, ir_drop_time_step_resolution_scale=scale)
        count = np.ceil(np.abs(CODES) / L * grid - 1e-3)
        np.testing.assert_allclose(y, W.astype(np.float64) @ (np.sign(CODES) * count / grid), atol=1e-5)


# -- against a simulation of every moment -----------------------------------------------------------------------------


def column_current(weights: np.ndarray, x: np.ndarray, t: float, wire: float, segments: int, v_read: float) -> float:
    """Current at one moment; weights and inputs of the padded column in order from the far end, wire in MOhm."""
    kappa = 25.0
    active = np.sign(x) * (np.abs(x) > t + 1e-5)
    g = kappa * np.abs(weights)
    plus = np.where(weights > 0, g, 0.0)
    minus = np.where(weights < 0, g, 0.0)
    gp = np.where(active > 0, plus, 0) + np.where(active < 0, minus, 0)
    gm = np.where(active > 0, minus, 0) + np.where(active < 0, plus, 0)
    g0 = np.where(active == 0, plus + minus, 0)
    gp, gm, g0 = (v.reshape(segments, -1).sum(1) for v in (gp, gm, g0))
    total = gp + gm + g0 + 1e-12
    v = (0.6 * gp + 0.2 * gm + 0.4 * g0) / total
    rth, vth = 1 / total[0], v[0]
    for s in range(1, segments):
        r1, r2 = rth + wire, 1 / total[s]
        rth = r1 * r2 / (r1 + r2)
        vth = (vth / r1 + v[s] / r2) * rth
    return float((vth - v_read) / (rth + wire / 2))


def simulated(w: np.ndarray, x: np.ndarray, physical: int, segments: int, wire: float, v_read: float) -> np.ndarray:
    n = w.shape[1]
    before = (physical - n) // 2
    padded_w, padded_x = np.zeros((len(w), physical)), np.zeros(physical)
    padded_w[:, before : before + n], padded_x[before : before + n] = w, x
    y = np.zeros(len(w))
    for i, row in enumerate(padded_w):
        order = slice(None) if i % 2 == 0 else slice(None, None, -1)
        charge = sum(
            column_current(row[order], padded_x[order], k / L, wire * physical / segments, segments, v_read)
            for k in range(L + 1)
        )
        y[i] = charge / 25.0 / 0.2 / L
    return y


@pytest.mark.parametrize(
    ("inputs", "physical", "segments"),
    [(48, 64, 8), (64, 64, 8), (63, 64, 8), (1, 64, 8), (48, 64, 64), (48, 48, 1)],
)
def test_every_moment(inputs: int, physical: int, segments: int, backward: bool) -> None:
    """The wire takes up to 15 % here; sizes P, P - 1 and 1, an odd number of outputs, one row per segment."""
    w = RNG.uniform(-0.8, 0.8, (OUT, inputs)).astype(np.float32)
    w[1, 0] = 1.0
    x = (np.rint(RNG.uniform(-1, 1, inputs) * L) / L).astype(np.float32)
    fields = {"ir_drop": 60.0, "ir_drop_segments": segments, "ir_drop_v_read": 0.4005}
    y = product(backward, w, x, physical, **fields)
    expected = simulated(w.astype(np.float64), x.astype(np.float64), physical, segments, 60 * 0.15e-6, 0.4005)
    np.testing.assert_allclose(y, expected, atol=2e-5)
    if inputs > 1:
        assert np.abs(y - product(backward, w, x, physical, **{**fields, "ir_drop": 0.0})).max() > 0.01


def test_the_far_end_sees_the_most(backward: bool) -> None:
    """A column with inputs on one end only: even outputs have their ADC at the last input, odd ones at the first."""
    w = np.ones((2, 64))
    first, last = (product(backward, w, np.eye(64)[j], ir_drop=60.0) for j in (0, 63))
    assert first[0] < last[0] < 1.0
    np.testing.assert_allclose(first, last[::-1], rtol=1e-6)


# -- read noise -------------------------------------------------------------------------------------------------------


def sampled_std(w: np.ndarray, x: np.ndarray, scale: float, n: int) -> np.ndarray:
    """Std of the product when each conductance is drawn anew for every sample, from the definition."""
    u = np.log10(np.abs(x * L).mean())
    slope = np.polyval([2.1926e-4, -1.87352e-3, 6.55714e-3, -1.46159e-2, 2.578764e-2], u)
    offset = 1e6 * np.polyval([1.11906167e-9, -9.08576764e-9, 3.07015063e-8, -6.77079241e-8, 1.17763144e-7], u)
    g = 25.0 * np.abs(w) / np.abs(w).max()
    kappa = 25.0 / np.abs(w).max()
    rng = np.random.default_rng(9)
    noisy = g + scale * (slope * g + offset) * rng.standard_normal((n, *w.shape))
    std: np.ndarray = ((np.sign(w) * noisy / kappa) @ x).std(0)
    return std


def test_read_noise_that_depends_on_the_pulses(backward: bool) -> None:
    """Against conductances that are drawn for every sample, n = 20000 each: 5 errors of both stds; none at weight 0."""
    n = 20_000
    w = W.copy()
    w[3] = 0.0
    for size in (1.0, 0.1):
        x = (np.rint(size * X * L) / L).astype(np.float32)
        io = IOParametersIRDropT(**QUIET, ir_drop=0.0, apply_xdep_pcm_read_noise=True, xdep_pcm_read_noise_scale=2.0)
        p = Product(io, w.T if backward else w, backward=backward, physical=64)
        y = p(np.tile(x, (n, 1))).astype(np.float64)
        expected = sampled_std(w.astype(np.float64), x.astype(np.float64), 2.0, n)
        rows = [0, 1, 2, 4]
        assert np.abs(y[:, 3]).max() < 1e-12
        np.testing.assert_array_less(np.abs(y.std(0)[rows] / expected[rows] - 1), 5 / np.sqrt(n))
        error = np.abs(y.mean(0) - product(backward, w, x, ir_drop=0.0))[rows]
        np.testing.assert_array_less(error, 5 * expected[rows] / np.sqrt(n) + 1e-6)


# -- in a tile --------------------------------------------------------------------------------------------------------


def test_a_tile_lies_in_the_array_of_its_mapping() -> None:
    """The same cells in a larger array have longer wires."""
    x = np.ones((1, 64), np.float32)
    y = []
    for size in (64, 512, 0):
        io = IOParametersIRDropT(**{**QUIET, "ir_drop": 60.0})
        mapping = MappingParameter(max_input_size=size)
        tile = Tile(6, 64, SingleRPUConfig(device=IdealDevice(), forward=io, mapping=mapping), seed=1)
        y.append(tile.forward(x)[0])
    assert np.abs(y[0] - y[1]).max() > 0.01
    np.testing.assert_array_equal(y[0], y[2])
    assert Tile.from_state(tile.state_dict()).rpu_config.forward == io


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"inp_res": -1.0}, "pulses need codes"),
        ({"mv_type": MV.POS_NEG_SEPARATE}, "inputs of both signs are read at once"),
        ({"ir_drop_segments": 0}, "ir_drop_segments"),
        ({"ir_drop_rs": -1.0}, "ir_drop_rs"),
        ({"ir_drop_g_max": 0.0}, "ir_drop_g_max"),
        ({"ir_drop_g_min": 30.0}, "ir_drop_g_min must be below"),
        ({"adc_frequency": 0.0}, "adc_frequency"),
        ({"ir_drop_g_ratio": 100.0}, "belongs to the simple model"),
        ({"ir_drop_time_step_resolution_scale": 0.0}, "ir_drop_time_step_resolution_scale"),
    ],
)
def test_impossible_parameters(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        IOParametersIRDropT(**fields).check()
    IOParametersIRDropT(is_perfect=True, **fields).check()


def test_a_perfect_chain_has_no_time() -> None:
    io = IOParametersIRDropT(is_perfect=True)
    np.testing.assert_array_equal(Product(io, W)(X[None]), Product(IOParameters(is_perfect=True), W)(X[None]))
    assert np.abs(Product(clean(), W)(X[None])[0] - product(False)).max() > 0
