"""The compiled product equals the NumPy oracle bit for bit, on every level, with any number of threads, at any size."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from exact import assert_same_bits, shapes

from rpu_sim import _core, reference
from rpu_sim.config import AnalogMVType, BoundManagementType, IOParameters, NoiseManagementType

NM, BM = NoiseManagementType, BoundManagementType
KEY = 0x1234567890ABCDEF

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
    "bound-stochastic": IOParameters(out_bound=0.2, inp_sto_round=True, inp_noise=0.02, out_sto_round=True, out_scale=2.0),
    "bound-one-sided": IOParameters(out_bound=0.2, bm_test_negative_bound=False),
    "bound-none": IOParameters(out_bound=0.3, bound_management=BM.NONE),
    "worst-case": IOParameters(out_bound=0.2, bound_management=BM.ITERATIVE_WORST_CASE, out_noise=0.01),
    "worst-case-raw": IOParameters(
        out_bound=0.2, bound_management=BM.ITERATIVE_WORST_CASE, noise_management=NM.NONE, out_noise=0.01
    ),
    "worst-case-np-sum": IOParameters(
        out_bound=0.1, bound_management=BM.ITERATIVE_WORST_CASE, noise_management=NM.ABS_MAX_NP_SUM
    ),
}


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


class Pair:
    """One direction of a tile, compiled and in the oracle."""

    def __init__(self, io: IOParameters, w: np.ndarray, backward: bool) -> None:
        self.io, self.w, self.backward = io, w, backward
        outputs = w.shape[1] if backward else w.shape[0]
        spread, averages = io.out_noise_std > 0, io.noise_management is NM.AVERAGE_ABS_MAX
        self.out_noise = np.zeros(outputs, np.float32) if spread else None
        self.mean = np.zeros(1, np.float32) if averages else None
        self.product = _core.AnalogProduct(io, backward, w, self.out_noise, self.mean)
        self.product.draw_constants(KEY)
        self.oracle: dict[str, Any] = {"backward": backward}
        if spread:
            self.oracle["out_noise"] = reference.mvm.out_noise_constants(io, outputs, KEY, backward=backward)
            assert_same_bits(self.out_noise, self.oracle["out_noise"], "constants")
        if averages:
            self.oracle["mean"] = np.zeros(1, np.float32)

    def run(self, x: np.ndarray, step: int, first: int = 0, freeze: bool = False) -> np.ndarray:
        y = np.full((len(x), self.w.shape[1] if self.backward else self.w.shape[0]), np.nan, np.float32)
        self.product(x, y, KEY, step, first, freeze)
        return y

    def check(self, x: np.ndarray, step: int, first: int = 0, freeze: bool = False) -> None:
        expected = reference.mvm.mvm(
            self.w, x, self.io, key=KEY, step=step, first_sample=first, freeze_mean=freeze, **self.oracle
        )
        assert_same_bits(self.run(x, step, first, freeze), expected, f"{self.w.shape} {x.shape} {self.io}")
        if self.mean is not None:
            assert_same_bits(self.mean, self.oracle["mean"], "running mean")


def check(io: IOParameters, shape: tuple[int, int], samples: int, backward: bool) -> None:
    pair = Pair(io, matrix(shape), backward)
    width = shape[0] if backward else shape[1]
    pair.check(inputs(samples, width, seed=samples), step=3, first=11)
    pair.check(inputs(samples, width, seed=samples + 1), step=4, freeze=True)


@pytest.mark.parametrize("backward", [False, True], ids=["forward", "backward"])
@pytest.mark.parametrize("name", IO)
def test_signal_chains(isa: str, name: str, backward: bool) -> None:
    for shape in shapes(isa):
        check(IO[name], shape, 6, backward)


@pytest.mark.parametrize("backward", [False, True], ids=["forward", "backward"])
@pytest.mark.parametrize("samples", [1, 2, 3, 5, 7, 8, 9, 17, 33])
def test_batches(isa: str, samples: int, backward: bool) -> None:
    """Every height of a register tile, and packed as well as unpacked weights."""
    for shape in [(5, 3), (37, 100), (128, 70)]:
        check(IO["bound"], shape, samples, backward)


@pytest.mark.parametrize("backward", [False, True], ids=["forward", "backward"])
def test_threads(isa: str, threads: int, backward: bool) -> None:
    """More than one panel of samples, block of outputs and chunk of inputs, so that threads have something to share."""
    check(IO["bound-stochastic"], (130, 300) if not backward else (300, 130), 300, backward)


def test_samples_do_not_depend_on_the_rest_of_their_batch(isa: str) -> None:
    """Results are addressed by the global sample, also when other samples are repeated by bound management."""
    for backward in (False, True):
        pair = Pair(IO["bound-stochastic"], matrix((70, 40)), backward)
        x = inputs(20, 70 if backward else 40, seed=1)
        whole = pair.run(x, step=9, first=5)
        for first, last in [(0, 1), (1, 8), (8, 20)]:
            assert_same_bits(pair.run(x[first:last], 9, 5 + first), whole[first:last], "part of a batch")


def test_running_mean_does_not_depend_on_the_split() -> None:
    x = inputs(20, 40, seed=1)
    whole, halves = (Pair(IO["average"], matrix((70, 40)), False) for _ in range(2))
    expected = whole.run(x, 0)
    assert_same_bits(np.concatenate([halves.run(x[:7], 0), halves.run(x[7:], 0, first=7)]), expected, "outputs")


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


def test_strided_samples(isa: str) -> None:
    """Rows may be apart in memory."""
    w, x = matrix((33, 20)), inputs(9, 60, seed=3)
    pair = Pair(IO["default"], w, False)
    assert_same_bits(pair.run(x[::2, 20:40], 1), pair.run(x[::2, 20:40].copy(), 1), "strided input")
