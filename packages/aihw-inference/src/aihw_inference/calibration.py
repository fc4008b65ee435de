"""Input ranges from data: estimators that are fed with the inputs of a tile, batch by batch.

The DAC of a tile has a fixed range; the input range is the magnitude that is mapped to its end. Every estimator looks
at magnitudes, unless `signed=True` asks for the quantile of the values themselves, and starts from nothing: what an
earlier calibration found has no influence. All-zero input vectors (padding) do not count.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from enum import Enum
from typing import Any

import numpy as np
from array_api_compat import array_namespace, device, size
from numpy.typing import NDArray

from .arrays import finite_array
from .errors import ConfigError, ShapeError, StateError

Array = Any


class InputRangeCalibrationType(Enum):
    """How an input range is found; see the estimator of the same name."""

    NONE = "none"
    MAX = "max"
    CACHE_QUANTILE = "cache_quantile"
    MOVING_QUANTILE = "moving_quantile"
    MOVING_STD = "moving_std"


class RangeEstimator(ABC):
    """Finds the input range of one tile.

    Attributes:
        n_vectors: number of input vectors seen that were not all zero.
    """

    def __init__(self) -> None:
        self.n_vectors = 0

    def update(self, x: Array) -> None:
        """Looks at a batch of inputs [..., in]; raises NonFiniteError or ShapeError and is unchanged otherwise."""
        xp, x = finite_array(x, "the inputs of a calibration")
        if x.ndim == 0:
            raise ShapeError("the inputs of a calibration must be vectors [..., in], not a single number.")
        vectors = xp.reshape(x, (-1, x.shape[-1])) if size(x) else xp.reshape(x, (0, x.shape[-1]))
        (kept,) = xp.nonzero(xp.any(vectors != 0.0, axis=-1))
        if kept.shape[0]:
            self._update(xp, xp.take(vectors, kept, axis=0))
            self.n_vectors += int(kept.shape[0])

    @abstractmethod
    def _update(self, xp: Any, vectors: Array) -> None:
        """Takes at least one vector [n, in], none of them all zero."""

    def value(self) -> float:
        """The range found so far, positive; raises StateError before the first input that is not zero."""
        if self.n_vectors == 0:
            raise StateError(
                "no input that is not zero has been seen; give the calibration data that reaches the tile."
            )
        return self._value()

    @abstractmethod
    def _value(self) -> float:
        """The range, once there were inputs."""


class MaxRange(RangeEstimator):
    """The largest magnitude."""

    def __init__(self) -> None:
        super().__init__()
        self._largest = 0.0

    def _update(self, xp: Any, vectors: Array) -> None:
        self._largest = max(self._largest, float(xp.max(xp.abs(vectors))))

    def _value(self) -> float:
        return self._largest


class CachedQuantileRange(RangeEstimator):
    """A quantile over a uniform sample of all input vectors.

    Args:
        quantile: fraction of the elements within the range, 0 < quantile <= 1.
        max_samples: number of vectors kept; each vector seen is kept with the same probability.
        signed: take the quantile of the values, not of their magnitudes; the range is its magnitude.
        seed: of the choice of vectors.

    Raises:
        ConfigError: a parameter out of range.
    """

    def __init__(
        self, quantile: float = 0.99995, max_samples: int = 1000, *, signed: bool = False, seed: int = 0
    ) -> None:
        super().__init__()
        self._quantile, self._signed = _checked_quantile(quantile), signed
        self._max_samples = _checked_count(max_samples)
        self._draw = np.random.default_rng(seed)
        self._keys: NDArray[np.float64] = np.empty(0)
        self._cache: Array = None

    def _update(self, xp: Any, vectors: Array) -> None:
        # The vectors with the smallest of independent uniform keys are a uniform sample, whatever the batches are.
        keys = np.concatenate([self._keys, self._draw.random(int(vectors.shape[0]))])
        together = vectors if self._cache is None else xp.concat([self._cache, vectors])
        chosen = np.sort(np.argsort(keys, kind="stable")[: self._max_samples])
        self._cache = xp.take(together, xp.asarray(chosen, device=device(together)), axis=0)
        self._keys = keys[chosen]

    def _value(self) -> float:
        values = self._cache if self._signed else array_namespace(self._cache).abs(self._cache)
        found: float = abs(quantile(values, self._quantile))
        return found


class _MovingRange(RangeEstimator):
    """The mean over the batches of a statistic of each."""

    def __init__(self) -> None:
        super().__init__()
        self._mean, self._batches = 0.0, 0

    def _average(self, value: float) -> None:
        if value > 0.0:
            self._mean = (self._mean * self._batches + value) / (self._batches + 1)
            self._batches += 1

    def _value(self) -> float:
        if self._batches == 0:
            raise StateError("no batch had a positive statistic; use another calibration for these inputs.")
        return self._mean


class MovingQuantileRange(_MovingRange):
    """The mean over the batches of a quantile of each; the maximum for quantile 1.

    Args:
        quantile: fraction of the elements of a batch within the range, 0 < quantile <= 1.
        signed: take the quantile of the values, not of their magnitudes; batches with a negative one do not count.

    Raises:
        ConfigError: quantile out of range.
    """

    def __init__(self, quantile: float = 0.99995, *, signed: bool = False) -> None:
        super().__init__()
        self._quantile, self._signed = _checked_quantile(quantile), signed

    def _update(self, xp: Any, vectors: Array) -> None:
        self._average(quantile(vectors if self._signed else xp.abs(vectors), self._quantile))


class MovingStdRange(_MovingRange):
    """The mean over the batches of `std_alpha` standard deviations, until `max_samples` vectors were seen.

    Args:
        std_alpha: number of standard deviations, positive.
        max_samples: number of vectors after which further batches are ignored.

    Raises:
        ConfigError: a parameter out of range.
    """

    def __init__(self, std_alpha: float = 3.0, max_samples: int = 1000) -> None:
        super().__init__()
        if not 0.0 < std_alpha < math.inf:
            raise ConfigError(f"std_alpha must be positive and finite, got {std_alpha}.")
        self._alpha, self._max_samples = float(std_alpha), _checked_count(max_samples)

    def _update(self, xp: Any, vectors: Array) -> None:
        if self.n_vectors < self._max_samples and size(vectors) != 1:
            self._average(self._alpha * float(xp.std(vectors, correction=1)))


def range_estimator(
    calibration_type: InputRangeCalibrationType,
    *,
    quantile: float = 0.99995,
    max_samples: int = 1000,
    std_alpha: float = 3.0,
    signed: bool = False,
    seed: int = 0,
) -> RangeEstimator:
    """The estimator of a type, with those of the parameters that it has.

    Raises:
        ConfigError: NONE, which estimates nothing, or a parameter out of range.
    """
    if calibration_type is InputRangeCalibrationType.MAX:
        return MaxRange()
    if calibration_type is InputRangeCalibrationType.CACHE_QUANTILE:
        return CachedQuantileRange(quantile, max_samples, signed=signed, seed=seed)
    if calibration_type is InputRangeCalibrationType.MOVING_QUANTILE:
        return MovingQuantileRange(quantile, signed=signed)
    if calibration_type is InputRangeCalibrationType.MOVING_STD:
        return MovingStdRange(std_alpha, max_samples)
    known = ", ".join(kind.name for kind in InputRangeCalibrationType if kind is not InputRangeCalibrationType.NONE)
    raise ConfigError(
        f"calibration_type must be an InputRangeCalibrationType, one of {known}, got {calibration_type!r}."
    )


def quantile(x: Array, probability: float) -> float:
    """The quantile of all elements of `x`, with linear interpolation between the two nearest; of any number of them."""
    xp = array_namespace(x)
    ordered = xp.sort(xp.reshape(x, (-1,)))
    last: int = ordered.shape[0] - 1
    position = probability * last
    lower = min(int(position), last)
    upper = min(lower + 1, last)
    low: float = float(ordered[lower])
    high: float = float(ordered[upper])
    return low + (high - low) * (position - lower)


def _checked_quantile(value: float) -> float:
    if not 0.0 < value <= 1.0:
        raise ConfigError(f"quantile must lie above 0 and not above 1, got {value}.")
    return float(value)


def _checked_count(value: int) -> int:
    if value < 1:
        raise ConfigError(f"max_samples must be at least 1, got {value}.")
    return int(value)
