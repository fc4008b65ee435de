"""Input-range estimators against plain NumPy on all the data at once, and statistics of signals."""

from __future__ import annotations

import numpy as np
import pytest

from aihw_inference import InputRangeCalibrationType as Type
from aihw_inference import MagnitudeHistogram, range_estimator
from aihw_inference.errors import ConfigError, NonFiniteError, ShapeError, StateError

from .backends import Backend

draw = np.random.default_rng(5)
BATCHES = [draw.normal(-1.0, 2.0, (40, 3, 8)).astype(np.float32) for _ in range(4)]
ROWS = [batch.reshape(-1, 8) for batch in BATCHES]
EXPECTED = {
    Type.MAX: max(float(np.abs(rows).max()) for rows in ROWS),
    Type.CACHE_QUANTILE: float(np.quantile(np.abs(np.concatenate(ROWS)), 0.9)),
    Type.MOVING_QUANTILE: float(np.mean([np.quantile(np.abs(rows), 0.9) for rows in ROWS])),
    Type.MOVING_STD: float(np.mean([2.0 * rows.std(ddof=1) for rows in ROWS])),
}


@pytest.mark.parametrize("kind", list(EXPECTED), ids=lambda kind: kind.name)
def test_every_type_on_every_library(backend: Backend, kind: Type) -> None:
    """With a cache for all vectors the sample is all of them; padding rows of zeros change nothing."""
    estimator = range_estimator(kind, quantile=0.9, std_alpha=2.0, max_samples=1000)
    for batch in BATCHES:
        estimator.update(backend.array(np.concatenate([np.zeros((5, 3, 8), np.float32), batch])))
    assert estimator.n_vectors == 480
    assert estimator.value() == pytest.approx(EXPECTED[kind], rel=2e-6)


def test_signed_quantiles_on_request() -> None:
    """The quantile of N(-2, 1) values at 0.99 is 0.33, that of their magnitudes 4.33 (1e5 values, sigma 0.01)."""
    x = np.random.default_rng(0).normal(-2.0, 1.0, (1000, 100))
    for kind in (Type.CACHE_QUANTILE, Type.MOVING_QUANTILE):
        found = {}
        for signed in (True, False):
            estimator = range_estimator(kind, quantile=0.99, signed=signed)
            estimator.update(x)
            found[signed] = estimator.value()
        assert found[True] == pytest.approx(0.326, abs=0.05)
        assert found[False] == pytest.approx(4.326, abs=0.05)


def test_the_cache_is_a_uniform_sample_of_all_batches() -> None:
    """Of 400 vectors in 40 batches 20 are kept: each with probability 1/20, wherever it came.

    500 seeds: the expected count in the first and in the last half is 10 each, its mean has sigma
    sqrt(20 * 0.25 * 380 / 399 / 500) = 0.098; 5 sigma leave a false alarm of 6e-7.
    """
    late = 0.0
    for seed in range(500):
        estimator = range_estimator(Type.CACHE_QUANTILE, quantile=0.5, max_samples=20, seed=seed)
        for batch in range(40):
            estimator.update(np.full((10, 1), 2.0 if batch >= 20 else 1.0))
        late += float(np.sum(estimator._cache == 2.0)) / 500
    assert late == pytest.approx(10.0, abs=5 * 0.098)


def test_a_second_calibration_starts_from_nothing_and_batches_without_signal_do_not_count() -> None:
    for kind in EXPECTED:
        estimator = range_estimator(kind)
        estimator.update(np.zeros((3, 4)))
        with pytest.raises(StateError, match="no input that is not zero has been seen"):
            estimator.value()
        estimator.update(np.array([[1.0, -1.0]]))
        assert 0.9 < estimator.value() < 5.0


def test_moving_std_stops_after_the_samples() -> None:
    estimator = range_estimator(Type.MOVING_STD, std_alpha=1.0, max_samples=2)
    estimator.update(np.array([[1.0, -1.0], [1.0, -1.0]]))
    first = estimator.value()
    estimator.update(np.array([[100.0, -100.0]]))
    assert estimator.value() == first == pytest.approx(np.sqrt(4 / 3))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"quantile": 0.0}, "quantile must lie above 0"),
        ({"quantile": 1.1}, "quantile must lie above 0"),
        ({"max_samples": 0}, "max_samples must be at least 1"),
    ],
)
def test_bad_settings(settings: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        range_estimator(Type.CACHE_QUANTILE, **settings)
    with pytest.raises(ConfigError, match="one of MAX, CACHE_QUANTILE"):
        range_estimator(Type.NONE)
    with pytest.raises(ConfigError, match="std_alpha must be positive"):
        range_estimator(Type.MOVING_STD, std_alpha=-1.0)


@pytest.mark.parametrize("kind", list(EXPECTED), ids=lambda kind: kind.name)
def test_bad_data_leave_an_estimator_as_it_was(kind: Type) -> None:
    estimator = range_estimator(kind)
    estimator.update(BATCHES[0])
    before = estimator.value()
    with pytest.raises(NonFiniteError, match="NaN or infinity"):
        estimator.update(np.array([[np.nan]]))
    with pytest.raises(ShapeError, match="not a single number"):
        estimator.update(np.array(1.0))
    assert estimator.value() == before
    assert estimator.n_vectors == 120


def test_histogram(backend: Backend) -> None:
    """Quantiles and clipped fractions of 96000 values to the width of a bin, 1.1 %."""
    x = np.concatenate([rows.reshape(-1) for rows in ROWS] * 25)
    histogram = MagnitudeHistogram()
    for part in np.array_split(x, 3):
        histogram.update(backend.array(part))
    for probability in (0.5, 0.99, 1.0):
        assert histogram.quantile(probability) == pytest.approx(np.quantile(np.abs(x), probability), rel=0.012)
    for bound in (0.5, 3.0, 100.0):
        assert histogram.fraction_above(bound) == pytest.approx(np.mean(np.abs(x) > bound), rel=0.02)
    found = histogram.statistics(8.0)
    assert (found.n, found.maximum) == (x.size, np.abs(x).max())
    assert found.rms == pytest.approx(np.sqrt(np.mean(x.astype(np.float64) ** 2)), rel=1e-5)
    assert found.used == pytest.approx(np.quantile(np.abs(x), 0.999) / 8.0, rel=0.012)
    assert found.bits_lost == pytest.approx(max(0.0, -np.log2(found.used)))


def test_histogram_of_extreme_values() -> None:
    histogram = MagnitudeHistogram()
    histogram.update(np.array([0.0, 1e-30, 1.0, 1e30], np.float32))
    assert histogram.fraction_above(1e-20) == 0.5  # 2**-40 is the smallest bound that is told from zero
    assert histogram.quantile(1.0) == pytest.approx(2.0**40)
    assert histogram.fraction_above(2e30) == 0.0
    with pytest.raises(NonFiniteError):
        histogram.update(np.array([np.inf]))
    with pytest.raises(ConfigError, match="bound of a converter"):
        histogram.statistics(0.0)
    with pytest.raises(StateError, match="no signal"):
        MagnitudeHistogram().quantile(0.5)
