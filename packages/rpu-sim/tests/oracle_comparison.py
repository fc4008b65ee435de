"""The comparison rule between a reference statistic v +- s and a measured one v' +- s'.

Exact entries: |v' - v| <= atol + rtol |v|. Others: |v' - v| <= 5 sqrt(s^2 + s'^2) + rel_sys |v| + abs_sys + 1e-6, where
rel_sys and abs_sys are known systematic errors of the reference; entries with s = 0 get 1e-5 |v| instead of s. Over a
whole kind the fraction of entries with z > 3 stays below 2 % and the mean of z^2 below 2.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from oracle_cases import Case, Statistic
from oracle_corrected import expected
from oracle_runs import RUN, Measured
from oracle_weight_runs import WEIGHT_RUN


@dataclass(frozen=True)
class Comparison:
    """All entries of one statistic: deviation over what is allowed, and z where it is defined."""

    name: str
    ratio: NDArray[np.float64]
    z: NDArray[np.float64]


def compare(name: str, expected: Statistic, found: Measured) -> Comparison:
    deviation = np.abs(np.asarray(found.value, np.float64) - expected.value)
    size = np.abs(expected.value)
    if expected.exact:
        return Comparison(name, (deviation / (expected.atol + expected.rtol * size)).ravel(), np.empty(0))
    error = np.hypot(expected.stderr, found.stderr)
    systematic = expected.rel_sys * size + expected.abs_sys
    allowed = 5 * error + systematic + 1e-6 + np.where(expected.stderr == 0, 1e-5 * size, 0.0)
    beyond, error = np.broadcast_arrays(np.maximum(deviation - systematic, 0.0), error)
    return Comparison(name, (deviation / allowed).ravel(), beyond[error > 0] / error[error > 0])


@functools.cache
def comparisons(case: Case) -> list[Comparison]:
    """Run a case (once per process) and compare every statistic of it."""
    found: dict[str, Any] = (RUN | WEIGHT_RUN)[case.kind](case)
    return [compare(name, statistic, found[name]) for name, statistic in expected(case).items()]
