"""Read noise that every product draws anew: its variance, its draws, and the models that have it."""

from __future__ import annotations

import math

import numpy as np
import pytest

from aihw_inference import (
    DualPairConductanceConverter,
    HermesNoiseModel,
    PCMLikeNoiseModel,
    Philox,
    ReRamCMONoiseModel,
    ReRamWan2022NoiseModel,
    SinglePairConductanceConverter,
    StateIndependentNoiseModel,
    product_read_noise,
    program,
)
from aihw_inference.errors import ConfigError, ShapeError, TimeError

from .backends import Backend

# Weights and conductances away from zero and from the ends of the range, where no read is clipped.
MODELS = [
    PCMLikeNoiseModel(g_converter=SinglePairConductanceConverter(g_max=25.0, g_min=10.0)),
    PCMLikeNoiseModel(g_converter=DualPairConductanceConverter([1.0, 3.0], 25.0, 10.0)),
    HermesNoiseModel(g_converter=SinglePairConductanceConverter(g_max=20.7, g_min=10.0)),
    ReRamCMONoiseModel(),
]


@pytest.mark.parametrize("model", MODELS, ids=lambda model: type(model).__name__)
def test_mean_and_variance_are_those_of_reads(model) -> None:
    """Over 4000 reads of 12 weights: mean within 5 standard errors, variance within 5 sqrt(2 / n) = 11 %."""
    weights = np.linspace(-0.6, 0.6, 12).reshape(3, 4)
    state = program(weights, model, rng=3, w_max=1.0 if model.g_converter.n_devices > 1 else None)
    if model.g_converter.n_devices == 1:
        state = program(np.concatenate([weights, [[-1.5, 1.5, 0.0, 0.0]]]), model, rng=3)
    mean, variance = state.read_parts_at(3600.0)
    reads = np.stack([state.weights_at(3600.0, repeat=repeat) for repeat in range(4000)])[:, :3]
    mean, variance = mean[:3], variance[:3]
    assert (np.abs(reads.mean(0) - mean) < 5.0 * np.sqrt(variance / len(reads))).all()
    np.testing.assert_allclose(reads.var(0, ddof=1), variance, rtol=5.0 * math.sqrt(2.0 / len(reads)))


def test_shapes_of_several_chips() -> None:
    state = program(np.ones((3, 4), np.float32), PCMLikeNoiseModel(), rng=1, n_chips=2)
    mean, variance = state.read_parts_at(0.0)
    assert mean.shape == variance.shape == (2, 3, 4)


def test_the_variance_of_an_output_is_the_sum_over_its_inputs() -> None:
    """1e5 draws for one input: the spread of a variance is sqrt(2 / n), 5 of them are 2.2 %."""
    x, variance = np.array([0.5, -1.0, 0.0]), np.array([[1.0, 2.0, 3.0], [0.0, 0.0, 5.0]])
    noise = product_read_noise(np.tile(x, (100_000, 1)), variance, rng=5)
    np.testing.assert_allclose(noise[:, 0].var(), 0.25 + 2.0, rtol=5.0 * math.sqrt(2.0 / len(noise)))
    assert (noise[:, 1] == 0.0).all()
    assert abs(noise[:, 0].mean()) < 5.0 * 1.5 / math.sqrt(len(noise))


def test_draws_are_those_of_the_sample_on_every_library(backend: Backend) -> None:
    x, variance = np.linspace(-1.0, 1.0, 20, dtype=np.float32).reshape(2, 2, 5), np.ones((3, 5), np.float32)
    expected = product_read_noise(x, variance, rng=5, step=2)
    found = product_read_noise(backend.array(x), backend.array(variance), rng=Philox(5), step=2)
    np.testing.assert_allclose(backend.numpy(found), expected, rtol=1e-5)
    later = product_read_noise(x[1], variance, rng=5, step=2, sample_offset=2)
    np.testing.assert_array_equal(later, expected[1])
    assert not np.allclose(product_read_noise(x, variance, rng=5, step=3), expected)


def test_refusals() -> None:
    with pytest.raises(ConfigError, match="ReRamWan2022NoiseModel does not tell the noise of a read"):
        program(np.ones((2, 2)), ReRamWan2022NoiseModel(), rng=1).read_parts_at(1.0)
    with pytest.raises(TimeError):
        program(np.ones((2, 2)), StateIndependentNoiseModel(), rng=1).read_parts_at(-1.0)
    with pytest.raises(ShapeError, match="do not fit the variances"):
        product_read_noise(np.ones((2, 3)), np.ones((2, 4)), rng=1)
