"""Checks of samples against closed forms, and tiles of identical devices to sample from.

Every check allows 5 standard errors, a two-sided false-alarm probability of 5.7e-7 per check; the distribution checks
(Kolmogorov-Smirnov, chi-square) use the same probability. An error of 7 standard errors is found with probability
0.977; where a test says what it "detects", it means that size. Seeds are fixed, so a test that passed once keeps
passing until the law or the stream layout changes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from rpu_sim import Tile
from rpu_sim import config as c

Z = 5.0
FALSE_ALARM = 2 * stats.norm.sf(Z)

ONE_SLOT = c.UpdateParameters(desired_bl=1, update_bl_management=False, update_management=False)


def identical(device: type[c.PulsedDevice], **fields: Any) -> Any:
    """A device model without any device-to-device spread, except where ``fields`` says so."""
    spreads = {name: 0.0 for name in vars(device()) if name.endswith("_dtod")}
    return device(**{**spreads, **fields})


def tile_of(
    device: c.Device, shape: tuple[int, int], *, start: ArrayLike = 0.0, seed: int = 1, update: Any = ONE_SLOT
) -> Tile:
    """A tile whose weights all begin at ``start``; by default an update sample is one train slot."""
    tile = Tile(*shape, c.SingleRPUConfig(device=device, update=update), seed=seed)
    tile.set_weights(np.ascontiguousarray(np.broadcast_to(np.asarray(start, np.float32), shape)))
    return tile


def pulse(tile: Tile, directions: str) -> None:
    """Pulse every cell once for each character, ``+`` up and ``-`` down, in a single update call."""
    sign = np.array([-1.0 if step == "+" else 1.0 for step in directions], np.float32)
    x = np.ones((len(sign), tile.in_size), np.float32)
    d = np.repeat(sign[:, None], tile.out_size, axis=1)
    tile.update(x, d, 4.0 * tile.granularity)


def weights_of(tile: Tile) -> NDArray[np.float64]:
    """The weights in double precision."""
    return np.asarray(tile.weights, np.float64)


def check_mean(
    sample: NDArray[Any], expected: float, what: str, *, std: float | None = None, rounding: float = 0.0
) -> None:
    """The sample mean; ``std`` of one sample is estimated unless given, ``rounding`` is an allowance for float32."""
    error = (np.std(sample) if std is None else std) / np.sqrt(sample.size)
    found = float(np.mean(sample))
    assert abs(found - expected) <= Z * error + rounding, (
        f"mean of {what}: {found:.8g}, expected {expected:.8g}; standard error {error:.2g}, n = {sample.size}"
    )


def check_std(sample: NDArray[Any], expected: float, what: str) -> None:
    """The sample standard deviation; its standard error follows from the sample kurtosis."""
    centred = sample.astype(np.float64).ravel() - np.mean(sample, dtype=np.float64)
    variance = np.mean(centred**2)
    kurtosis = np.mean(centred**4) / variance**2
    error = expected * np.sqrt((kurtosis - 1) / (4 * sample.size))
    found = np.sqrt(variance)
    assert abs(found - expected) <= Z * error, (
        f"std of {what}: {found:.8g}, expected {expected:.8g}; standard error {error:.2g}, n = {sample.size}"
    )


def check_correlation(a: NDArray[Any], b: NDArray[Any], expected: float, what: str) -> None:
    """The correlation of two jointly normal samples."""
    error = max(1 - expected**2, 1e-9) / np.sqrt(a.size)
    found = float(np.corrcoef(a.ravel(), b.ravel())[0, 1])
    message = f"correlation of {what}: {found:.6g}, expected {expected:.6g} +- {error:.2g}"
    assert abs(found - expected) <= Z * error, message


def check_fraction(hits: NDArray[np.bool_], expected: float, what: str) -> None:
    """The fraction of independent hits."""
    error = np.sqrt(expected * (1 - expected) / hits.size)
    found = float(hits.mean())
    message = f"fraction of {what}: {found:.6g}, expected {expected:.6g} +- {error:.2g}"
    assert abs(found - expected) <= Z * error, message


def check_law(sample: NDArray[Any], cdf: Callable[[Any], Any], what: str) -> None:
    """One-sample Kolmogorov-Smirnov; detects a shift of the distribution function by 3.9 / sqrt(n)."""
    result = stats.kstest(np.asarray(sample, np.float64).ravel(), cdf, method="asymp")
    assert result.pvalue > FALSE_ALARM, f"law of {what}: distance {result.statistic:.4g}, p = {result.pvalue:.2g}"


def check_same_law(sample: NDArray[Any], other: NDArray[Any], what: str) -> None:
    """Two-sample Kolmogorov-Smirnov; with equal sizes n detects a shift of the distribution function by 5.5 / sqrt(n).

    Both are compared in float32, so that cells at a bound have the same value in both.
    """
    a, b = (np.asarray(values, np.float32).ravel() for values in (sample, other))
    result = stats.ks_2samp(a, b, method="asymp")
    assert result.pvalue > FALSE_ALARM, f"law of {what}: distance {result.statistic:.4g}, p = {result.pvalue:.2g}"


def check_counts(counts: NDArray[np.int64], pmf: NDArray[np.float64], what: str) -> None:
    """Chi-square of independent counts against a probability mass function over 0, 1, 2, ..."""
    expected = counts.size * pmf
    observed = np.bincount(counts.ravel(), minlength=pmf.size).astype(np.float64)
    assert observed.size == pmf.size, f"{what}: a count of {observed.size - 1} is impossible"
    rare = expected < 10
    expected = np.append(expected[~rare], expected[rare].sum())
    observed = np.append(observed[~rare], observed[rare].sum())
    if expected[-1] < 10:
        assert observed[-1] <= 40, f"{what}: {observed[-1]} counts where {expected[-1]:.2g} are expected"
        expected, observed = expected[:-1], observed[:-1]
    chi2 = float(np.sum((observed - expected) ** 2 / expected))
    p = stats.chi2.sf(chi2, max(1, expected.size - 1))
    assert p > FALSE_ALARM, f"{what}: chi-square {chi2:.1f} in {expected.size} bins, p = {p:.2g}"
