"""Closed-form moments of the noise models, for plain numbers: what sampling converges to."""

from __future__ import annotations

import math
from statistics import NormalDist

_NORMAL = NormalDist()


def rectified_normal(mean: float, std: float) -> tuple[float, float]:
    """(mean, standard deviation) of max(N(mean, std), 0): a programmed or read conductance."""
    if std == 0.0:
        return max(mean, 0.0), 0.0
    a = mean / std
    first = mean * _NORMAL.cdf(a) + std * _NORMAL.pdf(a)
    second = (mean * mean + std * std) * _NORMAL.cdf(a) + mean * std * _NORMAL.pdf(a)
    return first, math.sqrt(max(second - first * first, 0.0))


def folded_normal(mean: float, std: float) -> tuple[float, float]:
    """(mean, standard deviation) of |N(mean, std)|: a drift exponent."""
    if std == 0.0:
        return abs(mean), 0.0
    first = std * math.sqrt(2.0 / math.pi) * math.exp(-0.5 * (mean / std) ** 2) + mean * math.erf(
        mean / (std * math.sqrt(2.0))
    )
    return first, math.sqrt(max(mean * mean + std * std - first * first, 0.0))


def drift_factor(mean: float, std: float, log_time_ratio: float) -> tuple[float, float]:
    """(mean, standard deviation) of (t / t_0)^-nu with nu = |N(mean, std)| and log_time_ratio = ln(t / t_0)."""
    first, second = (_mean_factor(mean, std, k * log_time_ratio) for k in (1.0, 2.0))
    return first, math.sqrt(max(second - first * first, 0.0))


def _mean_factor(mean: float, std: float, exponent: float) -> float:
    if std == 0.0:
        return math.exp(-abs(mean) * exponent)
    spread, ratio = 0.5 * (std * exponent) ** 2, mean / std
    return math.exp(spread - mean * exponent) * _NORMAL.cdf(ratio - std * exponent) + math.exp(
        spread + mean * exponent
    ) * _NORMAL.cdf(-ratio - std * exponent)
