"""Weight-programming optimisation: its search space, its loss, and a case whose optimum is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aihw_inference import (
    DualPairConductanceConverter,
    GlobalDriftCompensation,
    PCMLikeNoiseModel,
    SinglePairConductanceConverter,
    StateIndependentNoiseModel,
    optimize_programming,
)
from aihw_inference.errors import ConfigError, NonFiniteError, TimeError
from aihw_inference.optimize import ProgrammingCurves, downsample_weight_distribution, loss_weights

from .backends import Backend

WEIGHTS = np.clip(np.random.default_rng(0).normal(0.0, 0.25, (64, 64)), -1.0, 1.0)


def constant_noise(converter=None) -> StateIndependentNoiseModel:
    """A programming error of 0.2 microsiemens and nothing else; a range from 5 on, so that no device is clipped."""
    return StateIndependentNoiseModel(
        SinglePairConductanceConverter(25.0, 5.0) if converter is None else converter,
        drift_scale=0.0,
        read_noise_scale=0.0,
    )


@pytest.mark.parametrize(
    ("f_lst", "symmetric", "use_max", "dimension"),
    [([1.0], True, False, 7), ([1.0, None], True, False, 20), ([1.0, 2.0], False, True, 33)],
)
def test_dimension_of_the_search_space(f_lst, symmetric, use_max, dimension) -> None:
    curves = ProgrammingCurves(tuple(f_lst), 0.0, 25.0, symmetric=symmetric, use_max=use_max)
    assert curves.dimension == dimension


@given(
    st.lists(st.floats(0.0, 1.0), min_size=40, max_size=40),
    st.sampled_from([(1.0,), (1.0, None), (0.5, 2.0, 3.0)]),
    st.booleans(),
)
def test_every_point_of_the_cube_returns_the_weights(x, f_lst, symmetric) -> None:
    """A curve may hold a weight in many ways, but always the weight; and within the conductance range."""
    curves = ProgrammingCurves(f_lst, 2.0, 20.0, n_bins=3, symmetric=symmetric)
    converter = curves.converter(np.array(x[: curves.dimension]))
    w = np.linspace(-1.0, 1.0, 33)
    conductances, parameters = converter.convert_to_conductances(w)
    np.testing.assert_allclose(converter.convert_back_to_weights(conductances, parameters), w, atol=1e-9)
    if symmetric:  # at the nodes other than zero, where a pair may carry what another takes back
        for plus, minus in zip(converter.g_lst[::2], converter.g_lst[1::2], strict=True):
            np.testing.assert_allclose(np.delete(plus, 2), np.delete(minus[::-1], 2), atol=1e-9)


def test_the_corners_of_one_pair() -> None:
    """All coordinates 0: g+ is as small as it can be, the single pair; all 1 is the largest common conductance."""
    w = np.linspace(-1.0, 1.0, 11)
    for value, smallest in ((0.0, 0.0), (1.0, 25.0)):
        curves = ProgrammingCurves((1.0,), 0.0, 25.0, use_max=True)
        (plus, minus), _ = curves.converter(np.full(curves.dimension, value)).convert_to_conductances(w)
        partner = np.where(w > 0, minus, plus) if value == 0.0 else np.where(w > 0, plus, minus)
        np.testing.assert_allclose(partner, smallest, atol=1e-9)


def test_downsampling_keeps_the_distribution_and_shuffles_fully(backend: Backend) -> None:
    """Sorted they are the quantiles. The row means of 8 x 32 of them have a spread of 0.25 / sqrt(32) = 0.044."""
    sample = downsample_weight_distribution(backend.array(WEIGHTS), (8, 32), seed=1)
    expected = np.quantile(WEIGHTS.reshape(-1), np.linspace(0, 1, 256))
    np.testing.assert_allclose(np.sort(sample.reshape(-1)), expected, rtol=1e-5, atol=1e-6)
    assert sample.mean(axis=1).std() < 0.1
    assert downsample_weight_distribution(WEIGHTS[:2, :2], (3, 5)).shape == (3, 5)


def test_loss_of_a_constant_error(backend: Backend) -> None:
    """Two devices of sigma 0.2: variance 2 (0.2 / 20)**2 of the largest weight, times 100.

    4096 weights have a relative standard error of 2.2 %; 5 of them leave a false alarm of 6e-7.
    """
    loss = loss_weights(backend.array(WEIGHTS), constant_noise(), [0.0, 3600.0], rng=1)
    assert loss == pytest.approx(100 * 2 * 0.01**2, rel=5 * np.sqrt(2 / WEIGHTS.size))


def test_the_best_factor_of_constant_noise() -> None:
    """The relative variance (1 + f**2) / (1 + f)**2 is 0.625 at f = 3 and least, 0.5, at f = 1: 20 % better."""
    baseline = DualPairConductanceConverter([1.0, 3.0], 25.0, 5.0)
    result = optimize_programming(
        WEIGHTS,
        constant_noise(),
        [0.0],
        f_lst=[1.0, None],
        baseline=baseline,
        n_bins=2,
        use_max=True,
        loss_margin=0.17,
        compensation=None,
        test_shape=(16, 64),
        rng=7,
    )
    assert result.success
    assert 0.5 < result.converter.f_lst[1] < 2.0
    assert result.loss < 0.9 * result.baseline_loss  # on new random numbers, 1024 weights: 2 x 4.4 % of noise
    assert (result.converter.g_min, result.converter.g_max) == (5.0, 25.0)


def test_a_minimizer_of_your_own_and_the_same_result_twice() -> None:
    calls = []

    def center(objective, dimension, target):
        calls.append((dimension, target, objective(np.full(dimension, 0.2))))
        return np.full(dimension, 0.5)

    model = PCMLikeNoiseModel()
    results = [
        optimize_programming(WEIGHTS, model, [1.0], f_lst=[1.0], minimize=center, test_shape=(4, 32)) for _ in range(2)
    ]
    assert results[0] == results[1]
    assert (calls[0][:2], results[0].evaluations) == ((7, 0.0), 2)
    assert model == PCMLikeNoiseModel()


def test_typical_losses_of_pcm() -> None:
    """The established toolkit gives about 0.134 for a single and 0.058 for a dual pair at 1 s (weights unknown).

    The weights here are N(0, 0.25), clipped to +-1; another distribution changes the loss by less than a third.
    """
    losses = [
        loss_weights(WEIGHTS, PCMLikeNoiseModel(g_converter=c), [1.0], rng=1, compensation=GlobalDriftCompensation())
        for c in (SinglePairConductanceConverter(), DualPairConductanceConverter([1.0, 1.0]))
    ]
    assert losses[0] == pytest.approx(0.134, rel=1 / 3)
    assert losses[1] == pytest.approx(0.058, rel=1 / 3)


def test_bad_input() -> None:
    model = PCMLikeNoiseModel()
    with pytest.raises(ConfigError, match="f_lst needs positive factors"):
        optimize_programming(WEIGHTS, model, [1.0], f_lst=[1.0, -1.0])
    with pytest.raises(ConfigError, match="at least one time"):
        optimize_programming(WEIGHTS, model, [])
    with pytest.raises(ConfigError, match="0 < f_min < f_max"):
        optimize_programming(WEIGHTS, model, [1.0], n_bins=1)
    with pytest.raises(ConfigError, match="not all zero"):
        optimize_programming(0.0 * WEIGHTS, model, [1.0])
    with pytest.raises(NonFiniteError):
        optimize_programming(np.nan * WEIGHTS, model, [1.0])
    with pytest.raises(TimeError):
        optimize_programming(WEIGHTS, model, [-1.0])
