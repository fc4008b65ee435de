"""The signal chain against closed forms, in both directions.

Statistical tests repeat one input n times in a batch (every sample has draws of its own) and allow five standard
errors, a false-alarm probability of 6e-7 per compared number; seeds are fixed, so a pass is a pass.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from analog import Product, clean

from rpu_sim.config import BoundManagementType, IOParameters, NoiseManagementType

NM, BM = NoiseManagementType, BoundManagementType
RNG = np.random.default_rng(0)
W = RNG.uniform(-0.6, 0.6, (8, 12)).astype(np.float32)
X = RNG.uniform(-2.0, 2.0, 12).astype(np.float32)
N = 20_000


@pytest.fixture(params=[False, True], ids=["forward", "backward"])
def backward(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def product(io: IOParameters, w: Any, x: Any, backward: bool = False) -> np.ndarray:
    """W x in either direction: backwards the matrix is stored the other way round."""
    matrix = np.asarray(w, np.float32)
    return Product(io, matrix.T if backward else matrix, backward=backward)(np.atleast_2d(np.asarray(x, np.float32)))


def repeated(io: IOParameters, backward: bool = False, x: np.ndarray = X) -> np.ndarray:
    return product(io, W, np.tile(x, (N, 1)), backward).astype(np.float64)


def assert_moments(y: np.ndarray, mean: np.ndarray, std: np.ndarray) -> None:
    """Mean and std over the first axis within five standard errors (of a normal law) of the expected ones."""
    n = len(y)
    np.testing.assert_array_less(np.abs(y.mean(0) - mean), 5 * std / np.sqrt(n) + 1e-6)
    np.testing.assert_array_less(np.abs(y.std(0, ddof=1) / std - 1), 5 / np.sqrt(2 * n))


# -- noise ------------------------------------------------------------------------------------------------------------


def test_mean_is_the_product_when_rounding_is_stochastic(backward: bool) -> None:
    """T-F1: with stochastic rounding on both sides nothing is biased."""
    io = IOParameters(inp_sto_round=True, out_sto_round=True, out_scale=1.5, inp_noise=0.05, out_bound=20.0)
    y = repeated(io, backward)
    np.testing.assert_array_less(np.abs(y.mean(0) - 1.5 * W @ X), 5 * y.std(0) / np.sqrt(N))


def test_variance_of_input_and_output_noise(backward: bool) -> None:
    """T-F2: Var y_i = (out_scale alpha)^2 (out_noise^2 + inp_noise^2 sum_j w_ij^2)."""
    io = IOParameters(inp_res=-1, out_res=-1, out_bound=-1, inp_noise=0.05, out_noise=0.1, out_scale=1.5)
    alpha = np.abs(X).max()
    std = 1.5 * alpha * np.sqrt(0.1**2 + 0.05**2 * (W.astype(np.float64) ** 2).sum(1))
    assert_moments(repeated(io, backward), 1.5 * W @ X, std)


def test_variance_of_stochastic_rounding() -> None:
    """Rounding v between levels D apart has variance D^2 f (1 - f), f the fraction of v / D."""
    step = 0.5
    io = clean(out_bound=5.0, out_res=step / 10, out_sto_round=True)
    fraction = (W @ X).astype(np.float64) / step % 1.0
    y = repeated(io)
    variance = step**2 * fraction * (1 - fraction)
    # the fourth moment of a two-point law gives the standard error of its variance
    error = np.sqrt(np.abs(variance * (step**2 * (1 - 3 * fraction * (1 - fraction)) - variance)) / N)
    np.testing.assert_array_less(np.abs(y.mean(0) - W @ X), 5 * np.sqrt(variance / N) + 1e-6)
    np.testing.assert_array_less(np.abs(y.var(0) - variance), 5 * error + 1e-6)


def test_noise_is_independent_between_outputs_and_samples(backward: bool) -> None:
    """Correlations of n = 20000 pairs have standard error 1 / sqrt(n)."""
    noise = repeated(clean(out_noise=0.1), backward) - W @ X
    corr = np.corrcoef(noise.T) - np.eye(noise.shape[1])
    assert np.abs(corr).max() < 5 / np.sqrt(N)
    lagged = (noise[1:] * noise[:-1]).mean(0) / noise.var(0)
    assert np.abs(lagged).max() < 5 / np.sqrt(N)


def test_noise_scales_with_the_input_only_under_noise_management(backward: bool) -> None:
    """T-F2: doubling x doubles the noise with ABS_MAX (exactly, a power of two), and leaves it alone without."""
    managed = IOParameters(out_bound=-1)
    np.testing.assert_array_equal(product(managed, W, 2 * X, backward), 2 * product(managed, W, X, backward))
    free = clean(out_noise=0.1)
    noise = [product(free, W, c * X, backward) - product(clean(), W, c * X, backward) for c in (1, 2)]
    np.testing.assert_allclose(noise[1], noise[0], atol=2e-6)


def test_input_noise_may_exceed_the_input_bound(backward: bool) -> None:
    """Q-F5: the noise of the DAC comes after its clip."""
    y = product(clean(inp_bound=0.5, inp_noise=0.2), [[1.0]], np.full((1000, 1), 3.0), backward)
    assert (y > 0.5).mean() > 0.4


def test_spread_of_the_output_noise(backward: bool) -> None:
    """out_noise_std: s_i = |out_noise (1 + std xi)|, the same in every call; 4096 outputs."""
    io = clean(out_noise=0.1, out_noise_std=0.2)
    w = np.zeros((4096, 1))
    p = Product(io, w.T if backward else w, backward=backward)
    s = p.constants["out_noise"]
    assert abs(s.mean() / 0.1 - 1) < 5 * 0.2 / np.sqrt(4096)
    assert abs(s.std() / 0.02 - 1) < 5 / np.sqrt(2 * 4096)
    noise = np.concatenate([p(np.ones((500, 1), np.float32), step=k) for k in range(2)])
    assert abs((noise / s).std() - 1) < 5 / np.sqrt(2 * noise.size)
    assert np.corrcoef(noise.std(0), s)[0, 1] > 0.95  # 1000 draws estimate each s_i to 2 %, spread 20 %


# -- converters -------------------------------------------------------------------------------------------------------


def test_dac_grid(backward: bool) -> None:
    """T-F3: 127 levels k / 63; the largest input is exact."""
    io = IOParameters(out_res=-1, out_bound=-1, out_noise=0)
    x = RNG.standard_normal((50, 32)).astype(np.float32)
    y = product(io, np.eye(32), x, backward)
    alpha = np.abs(x).max(1, keepdims=True)
    level = y / alpha * 63
    np.testing.assert_allclose(level, np.rint(level), atol=2e-5)
    assert np.abs(np.rint(level)).max() == 63
    largest = np.abs(x) == alpha
    np.testing.assert_allclose(y[largest], x[largest], rtol=2e-7)
    assert (np.abs(y - x) <= alpha / 126 * 1.0001).all()


def test_adc_grid_and_clip(backward: bool) -> None:
    """T-F4: one weight w and x = 1 give min(12, D rint(w / D)) with D = 24 / 510."""
    io = IOParameters(out_noise=0, noise_management=NM.NONE, bound_management=BM.NONE)
    for w in np.linspace(-20, 20, 201) + 0.003:  # no ties
        expected = np.clip(24 / 510 * np.rint(w / (24 / 510)), -12, 12)
        np.testing.assert_allclose(product(io, [[w]], [1.0], backward), expected, rtol=1e-6)


def test_clip_off_the_grid() -> None:
    """The clip follows the quantiser: clipped values are exactly the bound, on the grid or not."""
    io = clean(out_bound=1.0, out_res=0.15)
    y = product(io, [[0.4], [0.8], [5.0], [-5.0]], [1.0])[0]
    np.testing.assert_allclose(y, [0.3, 0.9, 1, -1], rtol=1e-6)
    np.testing.assert_array_equal(y[2:], [1, -1])


def test_resolution_is_a_fraction_or_a_number_of_steps(backward: bool) -> None:
    for field in ("inp_res", "out_res"):
        bounds = {"inp_bound": 1.0, "out_bound": 3.0}
        by_fraction = product(clean(**{field: 1 / 64}, **bounds), W, X / 4, backward)
        np.testing.assert_array_equal(by_fraction, product(clean(**{field: 64}, **bounds), W, X / 4, backward))
        assert (by_fraction != product(clean(**bounds), W, X / 4, backward)).any()


@pytest.mark.parametrize("bound", [-1.0, 0.0, float("inf")])
def test_infinite_bound_has_no_grid(bound: float, backward: bool) -> None:
    """Q-F1: a resolution is a fraction of the range, so there is none without a bound."""
    io = clean(out_bound=bound, out_res=0.1, inp_bound=bound, inp_res=0.1)
    np.testing.assert_allclose(product(io, W, X, backward)[0], W @ X, atol=3e-6)


def test_asymmetries(backward: bool) -> None:
    """T-F5: the response to -e_j is -(1 - a) times that to e_j; negative outputs shrink by 1 - b."""
    eye = np.eye(12, dtype=np.float32)
    y = product(clean(inp_asymmetry=0.05), W, eye, backward)
    np.testing.assert_allclose(product(clean(inp_asymmetry=0.05), W, -eye, backward), -0.95 * y, rtol=1e-6)
    np.testing.assert_array_equal(y, W.T)
    out = product(clean(out_asymmetry=0.1), W, eye, backward)
    np.testing.assert_allclose(out, np.where(W.T < 0, 0.9, 1.0) * W.T, rtol=1e-6)


def test_out_scale_follows_the_converters(backward: bool) -> None:
    io = clean(out_bound=0.5, out_scale=3.0)
    np.testing.assert_allclose(product(io, W, X, backward)[0], 3 * np.clip(W @ X, -0.5, 0.5), rtol=1e-5)


def test_perfect_ignores_everything_but_out_scale(backward: bool) -> None:
    io = IOParameters(is_perfect=True, out_scale=0.5, inp_noise=1.0, out_noise=1.0, inp_asymmetry=0.3)
    np.testing.assert_allclose(product(io, W, X, backward)[0], 0.5 * W @ X, atol=1e-6)


# -- noise management -------------------------------------------------------------------------------------------------

GRID = {"out_noise": 0.0, "out_res": -1.0, "out_bound": -1.0, "bound_management": BM.NONE}


@pytest.mark.parametrize("mode", [NM.ABS_MAX, NM.MAX, NM.ABS_MAX_NP_SUM, NM.AVERAGE_ABS_MAX])
def test_zero_input_gives_exact_zeros(mode: NoiseManagementType, backward: bool) -> None:
    """T-F10: nothing is read, hence no output noise."""
    np.testing.assert_array_equal(product(IOParameters(noise_management=mode), W, np.zeros(12), backward), 0.0)


def test_zero_input_is_read_when_the_inputs_are_noisy() -> None:
    """Forward inputs with noise are read even when they are zero, backward inputs are not."""
    io = IOParameters(inp_noise=0.1)
    assert (product(io, W, np.zeros(12)) != 0).any()
    np.testing.assert_array_equal(product(io, W, np.zeros(12), backward=True), 0.0)


def test_inputs_below_the_smallest_normal_number_count_as_zero(backward: bool) -> None:
    np.testing.assert_array_equal(product(IOParameters(), W, np.full(12, 1e-39), backward), 0.0)


def test_constant_scale_equals_division_by_hand(backward: bool) -> None:
    managed = IOParameters(noise_management=NM.CONSTANT, nm_thres=4.0, **GRID)
    by_hand = IOParameters(noise_management=NM.NONE, **GRID)
    np.testing.assert_array_equal(product(managed, W, X, backward), 4 * product(by_hand, W, X / 4, backward))


def test_max_scales_with_the_largest_signed_value(backward: bool) -> None:
    io = IOParameters(noise_management=NM.MAX, **GRID)
    x = np.float32([0.5, -2.0])
    np.testing.assert_allclose(product(io, np.eye(2), x, backward)[0], [0.5, -0.5])  # the negative one is clipped
    np.testing.assert_array_equal(product(io, np.eye(2), [-1.0, -2.0], backward), 0.0)


def test_threshold_limits_the_scale(backward: bool) -> None:
    io = IOParameters(nm_thres=0.8, **GRID)
    np.testing.assert_allclose(product(io, np.eye(2), [2.0, 0.3], backward)[0], [0.8, 0.8 * 24 / 63], rtol=1e-6)


@pytest.mark.parametrize("n", [10, 30, 100, 500])
def test_np_sum_scale(n: int, backward: bool) -> None:
    """T-F10: x = 1 (n times), bound 12: alpha = max(1, min(0.05 n, 0.25 * 63)). The DAC grid shows it."""
    io = IOParameters(noise_management=NM.ABS_MAX_NP_SUM, out_noise=0.0, out_res=-1, bound_management=BM.NONE)
    alpha = max(1.0, min(0.05 * n, 15.75))
    w = np.zeros((1, n))
    w[0, 0] = 1.0
    np.testing.assert_allclose(product(io, w, np.ones(n), backward), alpha * np.rint(63 / alpha) / 63, rtol=1e-5)


def test_running_mean_of_the_largest_value(backward: bool) -> None:
    """T-F10 with decay 0.001: largest values 1 and 100 give scales 1 and 1.099; frozen, the mean stays."""
    io = IOParameters(noise_management=NM.AVERAGE_ABS_MAX, **GRID)
    p = Product(io, np.eye(1, dtype=np.float32), backward=backward)
    np.testing.assert_allclose(p(np.float32([[1.0], [100.0]])).ravel(), [1.0, 1.099], rtol=1e-6)
    np.testing.assert_allclose(p(np.float32([[50.0]]), freeze=True), 1.099, rtol=1e-6)
    np.testing.assert_allclose(p.constants["running_mean"], 1.099, rtol=1e-6)
    fresh = Product(io, np.eye(1, dtype=np.float32), backward=backward)
    np.testing.assert_allclose(fresh(np.float32([[3.0]]), freeze=True), 3.0)  # without a mean: the sample's own
    assert fresh.constants["running_mean"] == 0.0


# -- bound management -------------------------------------------------------------------------------------------------


def test_bound_management_halves_inputs_until_nothing_clips() -> None:
    """T-F11: w = 100 passes at rho = 16; w = 1000 gives up there, clipped. Backwards there is none."""
    io = IOParameters(out_noise=0.0)
    step = 24 / 510
    expected = 16 * step * np.rint(100 * np.rint(63 / 16) / 63 / step)
    assert expected == pytest.approx(101.647, abs=1e-3)
    np.testing.assert_allclose(product(io, [[100.0]], [1.0]), expected, rtol=1e-6)
    np.testing.assert_allclose(product(io, [[1000.0]], [1.0]), 16 * 12, rtol=1e-6)
    np.testing.assert_allclose(product(io, [[100.0]], [1.0], backward=True), 12, rtol=1e-6)


@pytest.mark.parametrize(("limit", "reduction"), [(1, 2), (7, 8), (1000, 1024)])
def test_largest_reduction_without_a_dac_grid(limit: int, reduction: int) -> None:
    """The limit is tested after the product, so the last reduction may be above it."""
    io = IOParameters(inp_res=-1, out_res=-1, out_noise=0, max_bm_factor=limit)
    np.testing.assert_allclose(product(io, [[1e6]], [1.0]), 12 * reduction, rtol=1e-6)


def test_only_clipped_samples_are_repeated() -> None:
    """T-F12: the neighbour of a clipped sample keeps its first result, on its own grid."""
    io = IOParameters(out_res=-1, out_noise=0.0)
    w = np.diag([1.0, 30.0])
    y = product(io, w, [[0.4, 1.0], [1.0, 0.3]])
    alone = product(io, w, [1.0, 0.3])
    np.testing.assert_array_equal(y[1:], alone)
    assert y[0, 1] == pytest.approx(30 * 4 * np.rint(63 / 4) / 63, rel=1e-6)  # rho = 4
    assert y[1, 1] == pytest.approx(30 * np.rint(0.3 * 63) / 63, rel=1e-6)


def test_negative_bound_may_be_ignored() -> None:
    """T-F13: with bm_test_negative_bound off only positive overflows count, at any place among the outputs (Q-F2)."""
    io = IOParameters(out_noise=0.0, out_res=-1, inp_res=-1, out_bound=1.0, bm_test_negative_bound=False)
    np.testing.assert_allclose(product(io, [[3.0], [-0.1]], [1.0])[0], [3.0, -0.1], rtol=1e-6)
    np.testing.assert_allclose(product(io, [[-3.0], [0.1]], [1.0])[0], [-1.0, 0.1], rtol=1e-6)
    for w in ([[3.0], [-3.0]], [[-3.0], [3.0]]):
        np.testing.assert_allclose(product(io, w, [1.0])[0], np.ravel(w), rtol=1e-6)
    io.bm_test_negative_bound = True
    np.testing.assert_allclose(product(io, [[-3.0], [0.1]], [1.0])[0], [-3.0, 0.1], rtol=1e-6)


def test_repetitions_have_fresh_noise() -> None:
    """A product that only noise pushes over its bound passes the second time with noise of its own; n = 20000.

    Without the repetition P(clip) would be 1/2; with it, results above the bound only come from rho = 2.
    """
    io = clean(out_bound=1.0, out_noise=0.1, bound_management=BM.ITERATIVE)
    y = product(io, [[1.0]], np.ones((N, 1))).ravel().astype(np.float64)
    first = y[y < 1.0]  # passed at once, or at rho = 2 with low noise
    assert 0.5 < len(first) / N < 0.8
    # P(y > 1) = P(xi > 0) P(2 (0.5 + 0.1 xi') > 1) = 1/4; standard error sqrt(3 / 16 / n)
    assert abs((y > 1.0).mean() - 0.25) < 5 * np.sqrt(3 / 16 / N)
    assert abs((y[y > 1.0] ** 2).mean() - (1 + 4 * 0.1 * np.sqrt(2 / np.pi) + 0.04)) < 5 * 0.4 / np.sqrt(N / 4)


@pytest.mark.parametrize("mode", [NM.NONE, NM.ABS_MAX])
def test_worst_case_scale_replaces_that_of_noise_management(mode: NoiseManagementType) -> None:
    """Q-F7: after the first clip, alpha = sum |x| 0.6 / bound, whatever the noise management was."""
    io = IOParameters(
        noise_management=mode, bound_management=BM.ITERATIVE_WORST_CASE, out_noise=0, out_res=-1, out_bound=2.0
    )
    n = 8
    alpha = 0.6 * n / 2.0
    y = product(io, np.full((1, n), 0.5), np.ones(n))
    np.testing.assert_allclose(y, 0.5 * n * alpha * np.rint(63 / alpha) / 63, rtol=1e-6)


def test_worst_case_does_not_repeat_what_noise_management_has_done() -> None:
    """Q-F15: with ABS_MAX_NP_SUM the second attempt halves the inputs at once."""
    io = IOParameters(
        noise_management=NM.ABS_MAX_NP_SUM,
        bound_management=BM.ITERATIVE_WORST_CASE,
        out_noise=0,
        out_res=-1,
        out_bound=2.0,
    )
    plain = IOParameters(
        noise_management=NM.ABS_MAX_NP_SUM, bound_management=BM.ITERATIVE, out_noise=0, out_res=-1, out_bound=2.0
    )
    x = RNG.uniform(0, 1, (20, 8))
    np.testing.assert_array_equal(product(io, np.ones((1, 8)), x), product(plain, np.ones((1, 8)), x))
