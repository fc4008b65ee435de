"""Activation-dependent read noise of PCM against its polynomials."""

from __future__ import annotations

import math

import numpy as np
import pytest

from aihw_inference import Philox, apply_activation_dependent_read_noise
from aihw_inference.activation_noise import activation_dependent_read_std, mean_input_steps
from aihw_inference.errors import ConfigError, NonFiniteError

from .backends import Backend


def polynomials(level: float) -> tuple[float, float]:
    """a and b in microsiemens as the specification prints them."""
    a = 0.00021926 * level**4 - 0.00187352 * level**3 + 0.00655714 * level**2 - 0.0146159 * level + 0.02578764
    b = 1e6 * (
        1.11906167e-9 * level**4
        - 9.08576764e-9 * level**3
        + 3.07015063e-8 * level**2
        - 6.77079241e-8 * level
        + 1.17763144e-7
    )
    return a, b


@pytest.mark.parametrize("steps", [0.5, 1.0, 30.0, 127.0])
def test_standard_deviation(backend: Backend, steps: float) -> None:
    a, b = polynomials(math.log10(steps))
    g = np.array([0.0, 5.0, 25.0])
    found = activation_dependent_read_std(backend.array(g), steps)
    np.testing.assert_allclose(backend.numpy(found), a * g + b, rtol=2e-6)


def test_weights(backend: Backend) -> None:
    """Mean and spread of 2e4 weights at 0.8; zeros stay zero. 5 sigma: false alarm 6e-7 each."""
    n, res = 20000, 1 / 254
    weights = np.concatenate([np.full(n, -0.8), np.zeros(100)]).astype(np.float32)
    x = np.full((3, 4), 0.5, np.float32)
    read = backend.numpy(
        apply_activation_dependent_read_noise(
            backend.array(weights), backend.array(x), inp_res=res, w_max=1.0, scale=2.0, rng=3
        )
    )
    assert not read[n:].any()
    a, b = polynomials(math.log10(0.5 / (2 * res)))
    std = 2.0 * (a * 20.0 + b) / 25.0
    assert read[:n].mean() == pytest.approx(-0.8, abs=5 * std / math.sqrt(n))
    assert read[:n].std() == pytest.approx(std, rel=5 / math.sqrt(2 * n))


def test_no_input_reads_nothing_and_the_draw_is_addressed() -> None:
    w, x = np.linspace(-1, 1, 7), np.full((2, 2), 0.25)
    settings = {"inp_res": 0.01, "w_max": 1.0, "rng": Philox(1)}
    np.testing.assert_array_equal(apply_activation_dependent_read_noise(w, 0.0 * x, **settings), w)
    first = apply_activation_dependent_read_noise(w, x, **settings)
    np.testing.assert_array_equal(first, apply_activation_dependent_read_noise(w, x, **settings))
    assert (apply_activation_dependent_read_noise(w, x, repeat=1, **settings) != first)[w != 0].all()


def test_per_vector_steps(backend: Backend) -> None:
    x = backend.array(np.array([[0.5, -0.5], [0.0, 1.0], [0.0, 0.0]], np.float32))
    np.testing.assert_allclose(backend.numpy(mean_input_steps(x, 0.25, axis=-1)), [1.0, 1.0, 0.0])
    assert float(mean_input_steps(x, 0.25)) == pytest.approx(2 / 3)


def test_bad_input() -> None:
    w = x = np.ones((2, 2))
    with pytest.raises(ConfigError, match="inp_res must lie between 0 and 1"):
        apply_activation_dependent_read_noise(w, x, inp_res=254.0, w_max=1.0, rng=0)
    with pytest.raises(ConfigError, match="w_max and g_max must be positive"):
        apply_activation_dependent_read_noise(w, x, inp_res=0.1, w_max=0.0, rng=0)
    with pytest.raises(NonFiniteError):
        apply_activation_dependent_read_noise(w, x * np.nan, inp_res=0.1, w_max=1.0, rng=0)
    with pytest.raises(ConfigError, match="n_steps must be finite"):
        activation_dependent_read_std(w, -1.0)
