"""Confidence intervals: quantiles against SciPy, coverage, and aging curves."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import t as student_t

import aihw_inference as ai
from aihw_inference import PCMLikeNoiseModel, Philox, aging_curve, confidence_interval, program
from aihw_inference.confidence import student_t_quantile
from aihw_inference.errors import ConfigError, DtypeError, ShapeError

from .backends import Backend


@pytest.mark.parametrize("degrees", [1, 2, 3, 4, 5, 10, 11, 30, 99, 1000])
def test_student_quantiles(degrees: int):
    for probability in (0.75, 0.95, 0.975, 0.995, 0.9999):
        assert student_t_quantile(probability, degrees) == pytest.approx(student_t.ppf(probability, degrees), rel=1e-10)


def test_interval(backend: Backend):
    samples = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    interval = confidence_interval(backend.array(samples), level=0.9)
    expected = student_t.interval(0.9, 4, samples.mean(0), samples.std(0, ddof=1) / np.sqrt(5))
    np.testing.assert_allclose([backend.numpy(interval.low), backend.numpy(interval.high)], expected, rtol=1e-5)
    assert (interval.n, interval.level) == (5, 0.9)


def test_coverage_over_chips():
    """Error of 4 chips, 2000 times: the 90 % interval holds the long-run mean in 90 % +- 3.4 % (5 sigma, 6e-7; the
    reference mean comes from 8000 chips, its error is 2 % of an interval's width).
    """
    weights = np.random.default_rng(0).normal(size=(8, 64)).astype(np.float32)
    chips = program(weights, PCMLikeNoiseModel(), rng=Philox(1), n_chips=8000)
    errors = np.sqrt(np.mean((chips.weights_at(60.0) - weights) ** 2, axis=(1, 2))).astype(np.float64)
    interval = confidence_interval(errors.reshape(2000, 4), axis=1, level=0.9)
    covered = np.mean((interval.low < errors.mean()) & (errors.mean() < interval.high))
    assert abs(covered - 0.9) < 5.0 * np.sqrt(0.09 / 2000)


def test_aging_curve_programs_anew():
    weights = np.random.default_rng(0).normal(size=(16, 32)).astype(np.float32)
    model, times = PCMLikeNoiseModel(), [0.0, 3600.0, 1e7]

    def rms(state: ai.ProgrammedArray, t: float) -> float:
        return float(np.sqrt(np.mean((state.weights_at(t) - weights) ** 2)))

    curve = aging_curve(lambda i: program(weights, model, rng=Philox(3).fold(i)), rms, times, repeats=6)
    assert curve.values.shape == (6, 3)
    assert curve.times == (0.0, 3600.0, 1e7)
    assert np.unique(curve.values[:, 0]).size == 6
    assert curve.interval is not None
    np.testing.assert_allclose(curve.interval.mean, curve.values.mean(axis=0))
    assert np.all(np.diff(curve.interval.mean) > 0)
    single = aging_curve(lambda i: program(weights, model, rng=i), rms, times, repeats=1)
    assert single.interval is None


def test_bad_arguments():
    with pytest.raises(ShapeError, match="at least two samples"):
        confidence_interval(np.zeros((1, 3)))
    for no_axis in (np.zeros(3), np.float64(1.0)):
        with pytest.raises(ShapeError, match="along axis 1"):
            confidence_interval(no_axis, axis=1)
    for no_samples in ([1.0, 2.0], np.array(["a", "b"]), np.zeros(3, complex)):
        with pytest.raises(DtypeError, match="samples"):
            confidence_interval(no_samples)
    for level in (0.0, 1.0, 95.0):
        with pytest.raises(ConfigError, match="level"):
            confidence_interval(np.zeros((3, 3)), level=level)
    with pytest.raises(ConfigError, match="at least one repeat"):
        aging_curve(lambda i: i, lambda p, t: 0.0, [1.0], repeats=0)
    with pytest.raises(ConfigError, match="one time"):
        aging_curve(lambda i: i, lambda p, t: 0.0, [])
