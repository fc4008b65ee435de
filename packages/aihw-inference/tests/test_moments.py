"""Closed-form moments against numerical integration."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from aihw_inference.moments import drift_factor, folded_normal, rectified_normal


def _moments(function, mean: float, std: float) -> tuple[float, float]:
    span, kink = 12.0, float(np.clip(-mean / std, -12.0, 12.0))

    def expectation(power: int) -> float:
        pieces = [
            quad(lambda x: function(mean + std * x) ** power * norm.pdf(x), a, b, epsabs=1e-13)[0]
            for a, b in ((-span, kink), (kink, span))
        ]
        return sum(pieces)

    first = expectation(1)
    return first, np.sqrt(expectation(2) - first**2)


@pytest.mark.parametrize(("mean", "std"), [(0.0, 0.26), (0.5, 1.0), (-0.3, 0.2), (5.0, 0.4)])
def test_rectified_and_folded(mean: float, std: float):
    assert rectified_normal(mean, std) == pytest.approx(_moments(lambda x: max(x, 0.0), mean, std), abs=1e-8)
    assert folded_normal(mean, std) == pytest.approx(_moments(abs, mean, std), abs=1e-8)


@pytest.mark.parametrize("log_ratio", [0.0, 0.05, 5.0, 14.0])
@pytest.mark.parametrize(("mean", "std"), [(0.1, 0.045), (0.049, 0.008), (0.0, 0.05), (-0.02, 0.05)])
def test_drift_factor(mean: float, std: float, log_ratio: float):
    expected = _moments(lambda nu: np.exp(-abs(nu) * log_ratio), mean, std)
    assert drift_factor(mean, std, log_ratio) == pytest.approx(expected, abs=1e-7)


def test_without_spread():
    assert rectified_normal(-1.0, 0.0) == (0.0, 0.0)
    assert folded_normal(-1.0, 0.0) == (1.0, 0.0)
    assert drift_factor(0.1, 0.0, 2.0) == (pytest.approx(np.exp(-0.2)), pytest.approx(0.0, abs=1e-7))
