"""The compiled product equals the NumPy oracle bit for bit, on every level, with any number of threads, at any size."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from analog import OracleProduct, Product
from exact import assert_same_bits, shapes

from rpu_sim import _core, reference
from rpu_sim.config import (
    AnalogMVType,
    BoundManagementType,
    IOParameters,
    IOParametersIRDropT,
    NoiseManagementType,
    WeightNoiseType,
)

NM, BM, MV, WN = NoiseManagementType, BoundManagementType, AnalogMVType, WeightNoiseType
IO = {
    "default": IOParameters(),
    "perfect": IOParameters(is_perfect=True, out_scale=0.7),
    "ideal": IOParameters(mv_type=AnalogMVType.IDEAL),
    "quiet": IOParameters(out_noise=0.0),
    "raw": IOParameters(noise_management=NM.NONE, inp_bound=-1.0, inp_res=-1, out_bound=0.0, out_res=-1, out_noise=0),
    "infinite-bound": IOParameters(out_bound=float("inf")),
    "steps": IOParameters(inp_res=30, out_res=50, out_bound=2.0, bound_management=BM.NONE),
    "off-grid": IOParameters(inp_bound=0.43, inp_res=0.05, noise_management=NM.NONE, out_bound=1.01, out_res=0.02),
    "stochastic": IOParameters(inp_sto_round=True, out_sto_round=True, inp_res=0.1, out_res=0.02, out_bound=3.0),
    "noisy": IOParameters(inp_noise=0.1, inp_asymmetry=0.05, out_asymmetry=0.1, out_noise=0.2, out_scale=1.5),
    "spread": IOParameters(out_noise_std=0.4),
    "max": IOParameters(noise_management=NM.MAX, nm_thres=0.8),
    "constant": IOParameters(noise_management=NM.CONSTANT, nm_thres=0.7),
    "constant-unset": IOParameters(noise_management=NM.CONSTANT),
    "limited": IOParameters(nm_thres=0.6),
    "np-sum": IOParameters(noise_management=NM.ABS_MAX_NP_SUM, out_bound=0.5),
    "np-sum-unbounded": IOParameters(noise_management=NM.ABS_MAX_NP_SUM, out_bound=-1, inp_res=-1),
    "average": IOParameters(noise_management=NM.AVERAGE_ABS_MAX),
    "bound": IOParameters(out_bound=0.3),
    "bound-unlimited": IOParameters(out_bound=0.02, inp_res=-1, max_bm_factor=7),
    "bound-stochastic": IOParameters(
        out_bound=0.2, inp_sto_round=True, inp_noise=0.02, out_sto_round=True, out_scale=2.0
    ),
    "bound-one-sided": IOParameters(out_bound=0.2, bm_test_negative_bound=False),
    "bound-none": IOParameters(out_bound=0.3, bound_management=BM.NONE),
    "worst-case": IOParameters(out_bound=0.2, bound_management=BM.ITERATIVE_WORST_CASE, out_noise=0.01),
    "worst-case-raw": IOParameters(
        out_bound=0.2, bound_management=BM.ITERATIVE_WORST_CASE, noise_management=NM.NONE, out_noise=0.01
    ),
    "worst-case-np-sum": IOParameters(
        out_bound=0.1, bound_management=BM.ITERATIVE_WORST_CASE, noise_management=NM.ABS_MAX_NP_SUM
    ),
    "ir-drop": IOParameters(ir_drop=1.3, ir_drop_g_ratio=200.0, out_bound=0.5),
    "read-noise": IOParameters(w_noise=0.05, w_noise_type=WN.ADDITIVE_CONSTANT, out_bound=0.5),
    "pcm-read-noise": IOParameters(w_noise=0.05, w_noise_type=WN.PCM_READ, out_bound=0.5),
    "offset": IOParameters(v_offset_std=0.1, out_bound=0.5),
    "series": IOParameters(r_series=0.1, slope_calibration=0.3, v_offset_w_min=-0.7, out_bound=0.5),
    "nonlinearity": IOParameters(out_nonlinearity=0.4, out_nonlinearity_std=0.5, out_bound=0.5),
    "nonlinearity-unbounded": IOParameters(out_nonlinearity=0.4, slope_calibration=0.5, out_bound=-1.0),
    "pos-neg": IOParameters(mv_type=MV.POS_NEG_SEPARATE, w_read_asymmetry_dtod=0.1, out_bound=0.5),
    "pos-neg-digital": IOParameters(
        mv_type=MV.POS_NEG_SEPARATE_DIGITAL_SUM, inp_noise=0.1, out_bound=0.3, out_sto_round=True, out_asymmetry=0.1
    ),
    "split": IOParameters(mv_type=MV.SPLIT_MODE, inp_noise=0.01, inp_sto_round=True, out_bound=0.3),
    "bits": IOParameters(mv_type=MV.BIT_WISE, inp_res=1 / 30, out_bound=0.3, out_sto_round=True),
    "one-bit": IOParameters(mv_type=MV.BIT_WISE, inp_res=0.5),
    "time-slices": IOParametersIRDropT(ir_drop=20.0, out_bound=2.0),
    "time-slices-finer": IOParametersIRDropT(
        ir_drop=20.0, ir_drop_segments=5, ir_drop_time_step_resolution_scale=2.5, ir_drop_g_min=1.0, inp_noise=0.02,
        ir_drop_integration_sum=False, adc_frequency=2.0, w_noise=0.05, w_noise_type=WN.PCM_READ, v_offset_std=0.1,
    ),
    "time-slices-coarse": IOParametersIRDropT(
        ir_drop_time_step_resolution_scale=0.1, adc_quantization=False, noise_management=NM.NONE, inp_bound=0.7
    ),
    "time-slices-noise": IOParametersIRDropT(
        ir_drop=20.0, apply_xdep_pcm_read_noise=True, xdep_pcm_read_noise_scale=2.0, w_noise=0.02,
        w_noise_type=WN.PCM_READ, mv_type=MV.SPLIT_MODE,
    ),
    "time-slices-split": IOParametersIRDropT(mv_type=MV.SPLIT_MODE, ir_drop=20.0, ir_drop_integration_sum=False),
    "time-slices-bits": IOParametersIRDropT(mv_type=MV.BIT_WISE, inp_res=0.03, inp_sto_round=True),
    "everything": IOParameters(
        mv_type=MV.POS_NEG_SEPARATE_DIGITAL_SUM, w_read_asymmetry_dtod=0.2, ir_drop=1.0, ir_drop_g_ratio=300.0,
        w_noise=0.02, w_noise_type=WN.PCM_READ, v_offset_std=0.05, v_offset_w_min=-0.5, r_series=0.02,
        out_nonlinearity=0.3, out_nonlinearity_std=0.3, slope_calibration=0.4, inp_noise=0.05, inp_asymmetry=0.02,
        out_asymmetry=0.03, out_noise_std=0.2, inp_sto_round=True, out_sto_round=True, out_bound=0.5,
        bound_management=BM.ITERATIVE_WORST_CASE, noise_management=NM.AVERAGE_ABS_MAX,
    ),
}  # fmt: skip


PHYSICAL = 50  # inputs of the array around a tile


def matrix(shape: tuple[int, int], seed: int = 0) -> np.ndarray:
    return (0.6 * np.random.default_rng(seed).uniform(-1, 1, shape)).astype(np.float32)


def inputs(samples: int, width: int, seed: int) -> np.ndarray:
    """Samples of very different size, exact zeros, a silent sample, one without positive values and a tiny one."""
    rng = np.random.default_rng(seed)
    x = (rng.standard_normal((samples, width)) * 10.0 ** rng.uniform(-2, 1, (samples, 1))).astype(np.float32)
    x[rng.random(x.shape) < 0.1] = 0.0
    if samples > 4:
        x[1] = 0.0
        x[2] = -np.abs(x[2])
        x[3] *= np.float32(1e-39)
    return x


@functools.cache
def expected(name: str, shape: tuple[int, int], samples: int, backward: bool) -> list[np.ndarray]:
    """Two calls of the oracle, the second with a frozen running mean, and the constants; slow, so levels share it."""
    oracle = OracleProduct(IO[name], matrix(shape), backward=backward, physical=PHYSICAL)
    width = shape[0] if backward else shape[1]
    first = oracle(inputs(samples, width, seed=samples), step=3, first=11)
    return [first, oracle(inputs(samples, width, seed=samples + 1), step=4, freeze=True), *oracle.constants.values()]


def check(name: str, shape: tuple[int, int], samples: int, backward: bool) -> None:
    product = Product(IO[name], matrix(shape), backward=backward, physical=PHYSICAL)
    width = shape[0] if backward else shape[1]
    first = product(inputs(samples, width, seed=samples), step=3, first=11)
    actual = [
        first,
        product(inputs(samples, width, seed=samples + 1), step=4, freeze=True),
        *product.constants.values(),
    ]
    for got, wanted in zip(actual, expected(name, shape, samples, backward), strict=True):
        assert_same_bits(got, wanted, f"{name} {shape} {samples}")


DIRECTIONS = pytest.mark.parametrize("backward", [False, True], ids=["forward", "backward"])


@DIRECTIONS
@pytest.mark.parametrize("name", IO)
def test_signal_chains(isa: str, name: str, backward: bool) -> None:
    for shape in shapes(isa):
        check(name, shape, 6, backward)


@DIRECTIONS
@pytest.mark.parametrize("samples", [1, 2, 3, 4, 5, 6, 7, 8, 9, 17, 33, 65])
def test_batches(isa: str, samples: int, backward: bool) -> None:
    """Every height of a register tile, and packed as well as unpacked weights."""
    for shape in [(5, 3), (37, 100), (128, 70)]:
        check("bound", shape, samples, backward)
        check("everything", shape, samples, backward)


@DIRECTIONS
@pytest.mark.parametrize("samples", [1, 2, 3, 4])
def test_wide_outputs(isa: str, samples: int, backward: bool) -> None:
    """The widest stripes of a few samples, narrower ones beside them, and a second chunk of inputs."""
    check("bound", (600, 470) if backward else (470, 600), samples, backward)


@DIRECTIONS
def test_threads(isa: str, threads: int, backward: bool) -> None:
    """Several panels of samples, blocks of outputs and chunks of inputs, so that threads have something to share."""
    check("bound-stochastic", (130, 300) if not backward else (300, 130), 300, backward)
    check("everything", (70, 20) if not backward else (20, 70), 260, backward)
    check("time-slices-noise", (130, 300) if not backward else (300, 130), 6, backward)


@DIRECTIONS
@pytest.mark.parametrize("name", IO)
def test_samples_do_not_depend_on_the_rest_of_their_batch(name: str, backward: bool) -> None:
    """Results are addressed by the global sample, also when other samples are repeated by bound management."""
    product, parts = (Product(IO[name], matrix((70, 40)), backward=backward) for _ in range(2))
    x = inputs(20, 70 if backward else 40, seed=1)
    whole = product(x, step=9, first=5)
    for first, last in [(0, 1), (1, 8), (8, 20)]:
        assert_same_bits(parts(x[first:last], step=9, first=5 + first), whole[first:last], "part of a batch")


def test_sample_index_wraps_around() -> None:
    """Global sample indices are counter words of 32 bits."""
    product, x = Product(IO["default"], matrix((5, 7))), inputs(4, 7, seed=2)
    assert_same_bits(product(x, first=2**32 - 2)[2:], product(x[2:], first=0), "after the wrap")


def test_strided_samples(isa: str) -> None:
    """Rows may be apart in memory."""
    product, x = Product(IO["default"], matrix((33, 20))), inputs(9, 60, seed=3)
    assert_same_bits(product(x[::2, 20:40]), product(x[::2, 20:40].copy()), "strided input")


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (100, 37), (64, 130), (300, 70)])
def test_rank_update(isa: str, threads: int, shape: tuple[int, int]) -> None:
    for samples in (1, 3, 20, 270):
        w, rng = matrix(shape), np.random.default_rng(0)
        x = rng.standard_normal((samples, shape[1])).astype(np.float32)
        d = rng.standard_normal((samples, shape[0])).astype(np.float32)
        expected = reference.mvm.rank_update(w, x, d, 0.01)
        in_two = w.copy()
        _core.rank_update(w, x, d, 0.01)
        assert_same_bits(w, expected, f"{shape} {samples}")
        _core.rank_update(in_two, x[:2], d[:2], 0.01)
        _core.rank_update(in_two, x[2:], d[2:], 0.01)
        assert_same_bits(in_two, expected, "two calls")
