"""The physics between DAC and ADC against closed forms, in both directions.

Statistical tests repeat one input n times in a batch (every sample has draws of its own) and allow five standard
errors, a false-alarm probability of 6e-7 per compared number; seeds are fixed, so a pass is a pass.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from analog import Product, clean

from rpu_sim.config import AnalogMVType, IOParameters, WeightNoiseType

MV, WN = AnalogMVType, WeightNoiseType
RNG = np.random.default_rng(1)
N = 20_000
OUT, IN = 8, 256
W = RNG.uniform(-0.6, 0.6, (OUT, IN)).astype(np.float32)
X = RNG.uniform(-1.0, 1.0, IN).astype(np.float32)
W64, X64 = W.astype(np.float64), X.astype(np.float64)


@pytest.fixture(params=[False, True], ids=["forward", "backward"])
def backward(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def make(io: IOParameters, backward: bool, w: Any = W) -> Product:
    matrix = np.asarray(w, np.float32)
    return Product(io, matrix.T if backward else matrix, backward=backward)


def product(io: IOParameters, backward: bool, w: Any = W, x: Any = X) -> np.ndarray:
    return make(io, backward, w)(np.atleast_2d(np.asarray(x, np.float32))).astype(np.float64)


def noise_of(io: IOParameters, backward: bool, w: Any = W, x: Any = X) -> np.ndarray:
    """Deviations of n samples from the noise-free product."""
    quiet = product(clean(), backward, w, x)
    return product(io, backward, w, np.tile(x, (N, 1))) - quiet


def assert_std(noise: np.ndarray, std: np.ndarray) -> None:
    """Zero mean and the expected std, each within five standard errors of a normal law."""
    np.testing.assert_array_less(np.abs(noise.mean(0)), 5 * std / np.sqrt(N) + 1e-6)
    np.testing.assert_array_less(np.abs(noise.std(0) / std - 1), 5 / np.sqrt(2 * N))


# -- deterministic effects --------------------------------------------------------------------------------------------


def test_ir_drop(backward: bool) -> None:
    """T-F7, for 256 inputs; the drop itself is 5 % of the outputs."""
    ratio = 3000.0
    a = np.abs(W64) @ np.abs(X64) * IN / ratio
    c = a * (a * (0.05 * a - 0.2) + 0.5)
    drop = 0.8 * c * (W64 @ (X64 * (1 - (1 - np.arange(IN) / IN) ** 2)))
    assert np.abs(drop).max() > 0.05
    y = product(clean(ir_drop=0.8, ir_drop_g_ratio=ratio), backward)[0]
    np.testing.assert_allclose(y, W64 @ X64 - drop, atol=1e-5)


def test_no_drop_nearest_to_the_adc(backward: bool) -> None:
    """A single active input: none at position 0, most at the far end."""
    io = clean(ir_drop=1.0, ir_drop_g_ratio=100.0)
    first, last = (product(io, backward, np.ones((1, 16)), np.eye(16)[j])[0, 0] for j in (0, 15))
    assert first == 1.0
    a = 16 / 100
    c = a * (a * (0.05 * a - 0.2) + 0.5)
    np.testing.assert_allclose(last, 1.0 - c * (1 - 1 / 256), rtol=1e-6)


def test_offset_series_resistance_and_nonlinearity(backward: bool) -> None:
    """T-F8: 2.7b followed by the nonlinearity with its calibration."""
    fields = {"v_offset_std": 0.05, "r_series": 0.01, "v_offset_w_min": -1.0, "out_nonlinearity": 0.3,
              "out_nonlinearity_std": 0.2, "slope_calibration": 0.5, "out_bound": 10.0}  # fmt: skip
    p = make(clean(**fields), backward)
    v, nl = (p.constants[name].astype(np.float64) for name in ("voltage_offset", "nonlinearity"))

    def g(u: Any) -> Any:
        return u / (1 + 0.01 * np.abs(u))

    reference = X64.sum()
    y = (1 - v) * g(W64 @ X64 + reference) - (1 + v) * g(reference)
    gain = (1 + (nl.mean() + 0.01) * 0.5 * 10.0) ** 2
    expected = np.clip(gain * y / (1 + np.abs(nl * y)), -10, 10)
    assert np.abs(expected - W64 @ X64).max() > 0.1
    np.testing.assert_allclose(p(X[None])[0], expected, atol=1e-5)


def test_level_of_the_nonlinearity(backward: bool) -> None:
    """T-F9: an output at the bound is halved by strength 1; with calibration the slope there is 1 again."""
    y = product(clean(out_nonlinearity=1.0, out_bound=4.0), backward, [[4.0], [-4.0]], [1.0])[0]
    np.testing.assert_allclose(y, [2.0, -2.0], rtol=1e-6)
    for at in (0.25, 0.5):
        io = clean(out_nonlinearity=1.0, slope_calibration=at, out_bound=40.0)
        w = np.array([[40 * at - 0.5], [40 * at + 0.5]])
        low, high = product(io, backward, w, [1.0])[0]
        assert abs(high - low - 1) < 1e-3


def test_offset_without_resistance(backward: bool) -> None:
    """(1 - v) y - 2 v y_ref, where the reference device has weight v_offset_w_min."""
    for w_min in (-1.0, 0.0, -0.3):
        p = make(clean(v_offset_std=0.1, v_offset_w_min=w_min), backward)
        v = p.constants["voltage_offset"].astype(np.float64)
        assert v.max() > 0.01
        np.testing.assert_allclose(p(X[None])[0], (1 - v) * (W64 @ X64) + 2 * v * w_min * X64.sum(), atol=1e-5)


# -- constants --------------------------------------------------------------------------------------------------------


def constants(io: IOParameters, name: str, backward: bool, outputs: int = 4096) -> np.ndarray:
    found: np.ndarray = make(io, backward, np.zeros((outputs, 1))).constants[name].astype(np.float64)
    return found


def test_voltage_offsets_are_rectified_normals(backward: bool) -> None:
    """T-F16: half are 0, the mean is std / sqrt(2 pi), the variance std^2 (1/2 - 1/(2 pi)); 4096 outputs."""
    v = constants(clean(v_offset_std=0.2), "voltage_offset", backward)
    n = len(v)
    assert abs((v == 0).mean() - 0.5) < 5 * 0.5 / np.sqrt(n)
    variance = 0.5 - 0.5 / np.pi
    assert abs(v.mean() / 0.2 - 1 / np.sqrt(2 * np.pi)) < 5 * np.sqrt(variance / n)
    fourth = 0.6282  # central moment of max(xi, 0), by quadrature
    assert abs(v.var() / 0.04 - variance) < 5 * np.sqrt((fourth - variance**2) / n)


def test_spread_of_the_nonlinearity(backward: bool) -> None:
    nl = constants(clean(out_nonlinearity=0.6, out_nonlinearity_std=0.2, out_bound=3.0), "nonlinearity", backward)
    assert abs(nl.mean() / 0.2 - 1) < 5 * 0.2 / np.sqrt(len(nl))
    assert abs(nl.std() / 0.04 - 1) < 5 / np.sqrt(2 * len(nl))


def test_constants_of_both_directions_are_independent() -> None:
    io = clean(v_offset_std=0.1, out_nonlinearity=0.5, out_nonlinearity_std=0.3)
    for name in ("voltage_offset", "nonlinearity"):
        pair = [constants(io, name, backward) for backward in (False, True)]
        assert abs(np.corrcoef(*pair)[0, 1]) < 5 / np.sqrt(4096)


# -- read noise -------------------------------------------------------------------------------------------------------


def test_additive_read_noise(backward: bool) -> None:
    """Every weight with noise of its own: Var y_i = w_noise^2 sum_j x_j^2, independent between outputs; n = 20000."""
    noise = noise_of(clean(w_noise=0.05, w_noise_type=WN.ADDITIVE_CONSTANT), backward)
    assert_std(noise, np.full(OUT, 0.05 * np.sqrt((X64**2).sum())))
    assert np.abs(np.corrcoef(noise.T) - np.eye(OUT)).max() < 5 / np.sqrt(N)


def test_pcm_read_noise(backward: bool) -> None:
    """Var y_i = w_noise^2 sum_j |w_ij| x_j^2; a weight of 0 has none; n = 20000."""
    w = W.copy()
    w[:, : IN // 2] *= 0.1
    w[-1] = 0.0
    noise = noise_of(clean(w_noise=0.05, w_noise_type=WN.PCM_READ), backward, w)
    assert (noise[:, -1] == 0).all()
    assert_std(noise[:, :-1], 0.05 * np.sqrt(np.abs(w[:-1].astype(np.float64)) @ X64**2))


def test_two_passes_have_the_read_noise_of_one(backward: bool) -> None:
    """T-F6: the variances of the two polarities add up to that of one pass; n = 20000."""
    for kind, sums in ((WN.ADDITIVE_CONSTANT, np.full(OUT, (X64**2).sum())), (WN.PCM_READ, np.abs(W64) @ X64**2)):
        io = clean(w_noise=0.05, w_noise_type=kind, mv_type=MV.POS_NEG_SEPARATE)
        assert_std(noise_of(io, backward), 0.05 * np.sqrt(sums))


# -- passes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [MV.POS_NEG_SEPARATE, MV.POS_NEG_SEPARATE_DIGITAL_SUM])
def test_two_passes_without_effects_are_one(kind: AnalogMVType, backward: bool) -> None:
    np.testing.assert_allclose(product(clean(mv_type=kind), backward)[0], W64 @ X64, atol=1e-5)


def test_digital_sum_converts_twice(backward: bool) -> None:
    """T-F6: twice the variance of the output noise, and an output bound for each pass; n = 20000."""
    one = noise_of(clean(out_noise=0.1, mv_type=MV.POS_NEG_SEPARATE), backward)
    two = noise_of(clean(out_noise=0.1, mv_type=MV.POS_NEG_SEPARATE_DIGITAL_SUM), backward)
    assert_std(one, np.full(OUT, 0.1))
    assert_std(two, np.full(OUT, 0.1 * np.sqrt(2)))
    w, x = [[1.0, -1.0]], [3.0, -2.5]
    clipped = {kind: product(clean(out_bound=2.0, mv_type=kind), backward, w, x)[0, 0] for kind in
               (MV.POS_NEG_SEPARATE, MV.POS_NEG_SEPARATE_DIGITAL_SUM)}  # fmt: skip
    assert clipped == {MV.POS_NEG_SEPARATE: 2.0, MV.POS_NEG_SEPARATE_DIGITAL_SUM: 4.0}


def test_ir_drop_of_a_pass_only_knows_its_current(backward: bool) -> None:
    """The drop is nonlinear in the current, so two passes have less of it than one; 2.9 with 2.7a for each."""
    io = {kind: clean(ir_drop=1.0, ir_drop_g_ratio=2000.0, mv_type=kind) for kind in (MV.ONE_PASS, MV.POS_NEG_SEPARATE)}
    expected = np.zeros(OUT)
    for part in (np.minimum(X64, 0), np.maximum(X64, 0)):
        a = np.abs(W64) @ np.abs(part) * IN / 2000.0
        c = a * (a * (0.05 * a - 0.2) + 0.5)
        expected += W64 @ part - c * (W64 @ (part * (1 - (1 - np.arange(IN) / IN) ** 2)))
    np.testing.assert_allclose(product(io[MV.POS_NEG_SEPARATE], backward)[0], expected, atol=2e-5)
    assert np.abs(product(io[MV.ONE_PASS], backward)[0] - expected).max() > 0.05


def test_read_asymmetry(backward: bool) -> None:
    """T-F14: positive inputs read W, negative ones W (1 + dtod xi), the same at every call; 64 x 64 weights."""
    w = RNG.uniform(0.1, 0.6, (64, 64)).astype(np.float32)
    p = make(clean(mv_type=MV.POS_NEG_SEPARATE, w_read_asymmetry_dtod=0.1), backward, w)
    np.testing.assert_array_equal(p(np.eye(64, dtype=np.float32)), w.T)
    ratio = -p(-np.eye(64, dtype=np.float32)).T / w
    assert abs(ratio.mean() - 1) < 5 * 0.1 / 64
    assert abs(ratio.std() / 0.1 - 1) < 5 / np.sqrt(2 * 64**2)
    np.testing.assert_array_equal(-p(-np.eye(64, dtype=np.float32), step=1).T / w, ratio)


@pytest.mark.parametrize(("kind", "shifts"), [(MV.SPLIT_MODE, [0, 3]), (MV.BIT_WISE, [0, 1, 2, 3, 4, 5])])
def test_bits_of_an_input_add_up(kind: AnalogMVType, shifts: list[int], backward: bool) -> None:
    """The passes together send the same 7-bit input; the noise of the pass of bit s counts 2^s times; n = 20000."""
    grid = {"inp_res": 1 / 126, "inp_bound": 1.0}
    one, many = (product(clean(mv_type=k, **grid), backward) for k in (MV.ONE_PASS, kind))
    np.testing.assert_allclose(many, one, atol=1e-5)
    noisy = product(clean(mv_type=kind, out_noise=0.01, **grid), backward, x=np.tile(X, (N, 1))) - one
    assert_std(noisy, np.full(OUT, 0.01 * np.sqrt(sum(4.0**s for s in shifts))))


def test_bits_meet_the_adc_one_by_one(backward: bool) -> None:
    """A code of 5 = 4 + 1 over a bound of 1.5 codes: split at bit 1 it is clip(1) + 2 clip(2), bit-wise 1 + 4."""
    grid = {"inp_res": 1 / 14, "inp_bound": 1.0, "out_bound": 1.5 / 7}
    x, w = [[5 / 7]], [[1.0]]
    split = product(clean(mv_type=MV.SPLIT_MODE, split_mode_bit_shift=1, **grid), backward, w, x)
    np.testing.assert_allclose(split * 7, 1 + 2 * 1.5, rtol=1e-6)
    np.testing.assert_allclose(product(clean(mv_type=MV.BIT_WISE, **grid), backward, w, x) * 7, 5, rtol=1e-6)
    np.testing.assert_allclose(product(clean(**grid), backward, w, x) * 7, 1.5, rtol=1e-6)
