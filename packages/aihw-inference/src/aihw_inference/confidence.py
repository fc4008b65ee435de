"""Confidence intervals over chips, and accuracy (or any metric) over time with them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from .arrays import real_array
from .errors import ConfigError, ShapeError

Array = Any
Programmed = TypeVar("Programmed")


@dataclass(frozen=True, eq=False)
class ConfidenceInterval:
    """Mean of independent samples and the interval that holds the true mean with probability `level`.

    Attributes:
        mean, low, high: arrays without the axis of the samples.
        level: for instance 0.95.
        n: number of samples.
    """

    mean: Array
    low: Array
    high: Array
    level: float
    n: int


def confidence_interval(samples: Array, *, axis: int = 0, level: float = 0.95) -> ConfidenceInterval:
    """Student-t interval of the mean along the axis of the chips.

    Chips are independent; reads of one chip are not. So the samples must be one number (or array) per chip.

    Args:
        samples: real array with at least two entries along `axis`.
        axis: axis of the independent samples.
        level: 0 < level < 1.

    Raises:
        ShapeError: fewer than two samples, or no such axis.
        ConfigError: level out of range.
        DtypeError: no array of real numbers.
    """
    if not 0.0 < level < 1.0:
        raise ConfigError(f"level must lie between 0 and 1, got {level}.")
    xp, samples = real_array(samples, "samples")
    n = samples.shape[axis] if -samples.ndim <= axis < samples.ndim else 0
    if n < 2:
        raise ShapeError(f"A confidence interval needs at least two samples along axis {axis}, got {n}.")
    mean, std = xp.mean(samples, axis=axis), xp.std(samples, axis=axis, correction=1)
    half = std * (student_t_quantile(0.5 + level / 2.0, n - 1) / math.sqrt(n))
    return ConfidenceInterval(mean, mean - half, mean + half, level, n)


@dataclass(frozen=True, eq=False)
class AgingCurve:
    """A metric of several programmings of the same weights over time.

    Attributes:
        times: seconds after programming, [T].
        values: the metric, [repeats, T].
        interval: confidence interval over the repeats; None for a single one.
    """

    times: tuple[float, ...]
    values: NDArray[np.float64]
    interval: ConfidenceInterval | None


def aging_curve(
    program: Callable[[int], Programmed],
    metric: Callable[[Programmed, float], float],
    times: Sequence[float],
    *,
    repeats: int = 5,
    level: float = 0.95,
) -> AgingCurve:
    """Evaluates a metric over time on `repeats` independently programmed chips.

    Every repeat programs anew: repeating only the reads would leave programming errors and drift exponents the same
    and understate the spread between chips.

    Args:
        program: repeat -> a programmed model, for instance `lambda i: program(w, model, rng=Philox(7).fold(i))`.
        metric: (programmed model, time) -> number.
        times: seconds after programming, in any order.
        repeats: number of chips, at least 1.
        level: of the confidence interval.

    Raises:
        ConfigError: repeats < 1, no time, or level out of range.
    """
    if repeats < 1 or len(times) == 0:
        raise ConfigError(f"aging_curve needs at least one repeat and one time, got {repeats} and {len(times)}.")
    values = np.empty((repeats, len(times)))
    for repeat in range(repeats):
        programmed = program(repeat)
        values[repeat] = [metric(programmed, float(t)) for t in times]
    interval = confidence_interval(values, level=level) if repeats > 1 else None
    return AgingCurve(tuple(float(t) for t in times), values, interval)


def student_t_quantile(probability: float, degrees: int) -> float:
    """Quantile of Student's t distribution with an integer number of degrees of freedom, 0.5 <= probability < 1."""
    low, high = 0.0, 1.0
    while _student_t_cdf(high, degrees) < probability:
        low, high = high, 2.0 * high
    for _ in range(80):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if _student_t_cdf(middle, degrees) < probability else (low, middle)
    return 0.5 * (low + high)


def _student_t_cdf(t: float, degrees: int) -> float:
    """P(T <= t) for t >= 0: the finite series of Abramowitz and Stegun 26.7.3 and 26.7.4."""
    theta = math.atan2(t, math.sqrt(degrees))
    cosine_squared = math.cos(theta) ** 2
    odd = degrees % 2
    term = total = math.cos(theta) if odd else 1.0
    for k in range(1, degrees // 2):
        term *= cosine_squared * (2 * k / (2 * k + 1) if odd else (2 * k - 1) / (2 * k))
        total += term
    if not odd:
        inside = math.sin(theta) * total
    elif degrees == 1:
        inside = 2.0 * theta / math.pi
    else:
        inside = 2.0 / math.pi * (theta + math.sin(theta) * total)
    return 0.5 + 0.5 * inside
