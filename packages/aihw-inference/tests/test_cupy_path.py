"""CuPy arrays take the code path of all others: shown with a stand-in for CuPy that NumPy cannot read."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from typing import Any

import array_api_compat
import numpy as np
import pytest

import aihw_inference as ai
from aihw_inference import InputRangeCalibrationType, Native, PCMLikeNoiseModel, program, range_estimator
from aihw_inference.optimize import downsample_weight_distribution

from . import fake_cupy
from .test_programming import MODELS

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("cupy") is not None, reason="CuPy itself is installed: this is its stand-in"
)
WEIGHTS = np.random.default_rng(0).normal(0.0, 0.2, (7, 30)).astype(np.float32)


@pytest.fixture(scope="module")
def cupy() -> Iterator[Any]:
    with fake_cupy.installed() as module:
        yield module


def test_it_is_taken_for_cupy(cupy: Any):
    x = cupy.asarray(WEIGHTS)
    assert array_api_compat.is_cupy_array(x)
    assert array_api_compat.array_namespace(x).__name__.endswith("cupy")
    for convert in (np.asarray, np.abs):
        with pytest.raises(TypeError):
            convert(x)


@pytest.mark.parametrize("name", list(MODELS))
def test_program_read_compensate(cupy: Any, name: str):
    """The numbers of NumPy, to 1e-5 of the range, and everything stays an array of the library."""
    mine = program(cupy.asarray(WEIGHTS), MODELS[name], rng=3, n_chips=4)
    expected = program(WEIGHTS, MODELS[name], rng=3, n_chips=4)
    for compensation in (
        ai.GlobalDriftCompensation("rms", n_random_probes=3),
        ai.PerColumnDriftCompensation("median"),
        ai.GlobalDriftCompensationWithExactReference("least_squares"),
    ):
        reads = [ai.read_compensated(state, 86400.0, compensation).compensated for state in (mine, expected)]
        assert array_api_compat.is_cupy_array(reads[0])
        np.testing.assert_allclose(reads[0].get(), reads[1], rtol=1e-4, atol=1e-5)
    reads = [state.weights_at(np.array([0.0, 86400.0])) for state in (mine, expected)]
    np.testing.assert_allclose(reads[0].get(), reads[1], rtol=1e-4, atol=1e-5)


def test_native_generator_is_its_own(cupy: Any):
    first, again, other = (
        program(cupy.asarray(WEIGHTS), PCMLikeNoiseModel(), rng=Native(seed)).weights_at(60.0).get()
        for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("kind", [kind for kind in InputRangeCalibrationType if kind.name != "NONE"])
def test_calibration_and_ranges(cupy: Any, kind: InputRangeCalibrationType):
    values = []
    for convert in (np.asarray, cupy.asarray):
        estimator, histogram = range_estimator(kind, max_samples=5), ai.MagnitudeHistogram()
        estimator.update(convert(WEIGHTS))
        histogram.update(convert(WEIGHTS))
        values.append((estimator.value(), *vars(histogram.statistics(0.3)).values()))
    assert values[1] == pytest.approx(values[0], rel=1e-6)


def test_the_rest(cupy: Any):
    """Confidence intervals, product noise, activation noise, chip export, and what the optimisation samples."""
    actions: list[Callable[[Any], Any]] = [
        lambda x: ai.confidence_interval(x).low,
        lambda x: ai.product_read_noise(x, x * x, rng=1),
        lambda x: ai.apply_activation_dependent_read_noise(x, x, inp_res=0.01, w_max=1.0, rng=1),
        lambda x: ai.FusionConductanceConverter().convert_back_to_weights(
            *ai.FusionConductanceConverter().convert_to_conductances(x)
        ),
        lambda x: ai.scale_outputs(x, x[:, 0], axis=0),
    ]
    for action in actions:
        mine, expected = action(cupy.asarray(WEIGHTS)), action(WEIGHTS)
        assert array_api_compat.is_cupy_array(mine)
        np.testing.assert_allclose(mine.get(), expected, rtol=1e-4, atol=1e-6)
    sampled = downsample_weight_distribution(cupy.asarray(WEIGHTS), (3, 4))
    np.testing.assert_array_equal(sampled, downsample_weight_distribution(WEIGHTS, (3, 4)))
