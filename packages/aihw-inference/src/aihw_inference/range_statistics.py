"""How well signals use the range of a converter: counts of their magnitudes, collected batch by batch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from array_api_compat import device, size
from numpy.typing import NDArray

from .arrays import finite_array, on_host
from .errors import ConfigError, StateError

Array = Any

_PER_OCTAVE, _OCTAVES = 64, 40  # bins of 1.1 % between 2**-40 and 2**40


@dataclass(frozen=True)
class RangeStatistics:
    """What a converter of a given range does to the signals that were seen.

    Attributes:
        bound: end of the range.
        n: number of values.
        maximum: largest magnitude.
        rms: root mean square.
        clipped: fraction of the values beyond the range.
        used: 99.9 % quantile of the magnitudes over the bound: below 1 the range is wider than needed.
        bits_lost: log2 of the part of the range that 99.9 % of the values leave unused, at least 0.
    """

    bound: float
    n: int
    maximum: float
    rms: float
    clipped: float
    used: float
    bits_lost: float


class MagnitudeHistogram:
    """Counts of |x| in bins of equal ratio, of bounded size for any amount of data; magnitudes are known to 1.1 %."""

    def __init__(self) -> None:
        self._edges = 2.0 ** (np.arange(-_OCTAVES * _PER_OCTAVE, _OCTAVES * _PER_OCTAVE + 1) / _PER_OCTAVE)
        self._counts: NDArray[np.int64] = np.zeros(len(self._edges) + 1, np.int64)
        self._maximum, self._sum_of_squares = 0.0, 0.0

    @property
    def n(self) -> int:
        """Number of values seen."""
        return int(self._counts.sum())

    def update(self, x: Array) -> None:
        """Counts the values of an array of any shape; raises NonFiniteError and is unchanged for NaN or infinity."""
        xp, x = finite_array(x, "the signals of a range statistic")
        if not size(x):
            return
        ordered = xp.sort(xp.reshape(xp.abs(x), (-1,)))
        edges = xp.asarray(self._edges, dtype=x.dtype, device=device(x))
        below = on_host(xp.searchsorted(ordered, edges)).astype(np.int64)
        self._counts += np.diff(below, prepend=0, append=int(ordered.shape[0]))
        self._maximum = max(self._maximum, float(ordered[-1]))
        scale = float(ordered[-1]) or 1.0  # the squares of very large or small values do not fit float32
        self._sum_of_squares += float(xp.mean((ordered / scale) ** 2)) * scale**2 * int(ordered.shape[0])

    def quantile(self, probability: float) -> float:
        """Magnitude below which the fraction `probability` of the values lies, to 1.1 %; StateError without values."""
        if not 0.0 < probability <= 1.0:
            raise ConfigError(f"probability must lie above 0 and not above 1, got {probability}.")
        self._require_values()
        index = int(np.searchsorted(np.cumsum(self._counts), probability * self.n))
        return min(float(self._edges[min(index, len(self._edges) - 1)]), self._maximum)

    def fraction_above(self, bound: float) -> float:
        """Fraction of the values whose magnitude is above `bound`; the bin of the bound counts in proportion."""
        self._require_values()
        if bound >= self._maximum:
            return 0.0
        if bound <= self._edges[0]:
            return float(self._counts[1:].sum()) / self.n
        position = _PER_OCTAVE * (math.log2(bound) + _OCTAVES)
        bin_of_bound = min(int(position) + 1, len(self._counts) - 1)
        inside = float(self._counts[bin_of_bound]) * (1.0 - (position - int(position)))
        return (float(self._counts[bin_of_bound + 1 :].sum()) + inside) / self.n

    def statistics(self, bound: float) -> RangeStatistics:
        """What a converter that ends at +-`bound` does to these values; StateError without values."""
        if not 0.0 < bound < math.inf:
            raise ConfigError(f"the bound of a converter must be positive and finite, got {bound}.")
        used = self.quantile(0.999) / bound
        lost = math.log2(1.0 / used) if 0.0 < used < 1.0 else 0.0
        rms = math.sqrt(self._sum_of_squares / self.n)
        return RangeStatistics(bound, self.n, self._maximum, rms, self.fraction_above(bound), used, lost)

    def _require_values(self) -> None:
        if self.n == 0:
            raise StateError("no signal has been seen; run data through the layer first.")
