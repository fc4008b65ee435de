"""Philox against the known-answer vectors of Random123, and the moments of the draws."""

from __future__ import annotations

import numpy as np
import pytest

from rpu_sim.reference import fmath, philox
from rpu_sim.streams import Stream

# philox4x32-10 of the kat_vectors file of Random123: counter, key, output
VECTORS = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]


def numbers(text: str) -> list[int]:
    return [int(word, 16) for word in text.split()]


@pytest.mark.parametrize(("counter", "key", "expected"), VECTORS)
def test_known_answers(counter: str, key: str, expected: str) -> None:
    words = [np.array([c], np.uint32) for c in numbers(counter)]
    k0, k1 = numbers(key)
    assert [int(w[0]) for w in philox.philox4x32(words, (k0, k1))] == numbers(expected)


def test_moments_of_normals() -> None:
    """n = 4e6: mean, variance, skewness and kurtosis within 5 standard errors (false alarm below 3e-6)."""
    n = 4_000_000
    z = philox.normals(2000, 2000, 3, Stream.DIFFUSION, 0, 99).astype(np.float64).ravel()
    assert abs(z.mean()) < 5 / np.sqrt(n)
    assert abs(z.var() - 1) < 5 * np.sqrt(2 / n)
    assert abs((z**3).mean()) < 5 * np.sqrt(15 / n)
    assert abs((z**4).mean() - 3) < 5 * np.sqrt(96 / n)
    assert np.abs(z).max() > 4.5  # the tails are there: P(none of 4e6 beyond 4.5) is below 1e-11


def test_neighbouring_cells_and_draws_are_uncorrelated() -> None:
    """Correlations of 1e6 pairs within 5 standard errors."""
    z = philox.normals(1000, 1024, 3, Stream.DIFFUSION, 0, 7).astype(np.float64)
    other = philox.normals(1000, 1024, 4, Stream.DIFFUSION, 0, 7).astype(np.float64)
    limit = 5 / np.sqrt(1000 * 1008)
    for lag in (1, 4, 16):
        assert abs((z[:, lag:] * z[:, :-lag]).mean()) < limit * 1.02
    assert abs((z[1:] * z[:-1]).mean()) < limit
    assert abs((z * other).mean()) < limit


def test_elementary_functions() -> None:
    """log, exp and exp2 within 2 units in the last place, sine and cosine within 2e-7, of float64."""
    x = np.linspace(1e-7, 1, 1_000_001).astype(np.float32)
    exact = np.log(x.astype(np.float64))
    assert np.max(np.abs(fmath.log(x) - exact) / np.spacing(np.abs(exact).astype(np.float32) + 1e-7)) < 2
    e = np.linspace(-86, 88, 1_000_001).astype(np.float32)
    exact = np.exp(e.astype(np.float64))
    assert np.max(np.abs(fmath.exp(e) - exact) / np.spacing(exact.astype(np.float32))) < 2
    p = np.linspace(-125, 126, 1_000_001).astype(np.float32)
    exact = np.exp2(p.astype(np.float64))
    assert np.max(np.abs(fmath.exp2(p) - exact) / np.spacing(exact.astype(np.float32))) < 2
    t = np.arange(0, 1, 1e-6).astype(np.float32)
    sine, cosine = fmath.sincos2pi(t)
    assert np.max(np.abs(sine - np.sin(2 * np.pi * t.astype(np.float64)))) < 2e-7
    assert np.max(np.abs(cosine - np.cos(2 * np.pi * t.astype(np.float64)))) < 2e-7


def test_fused_multiply_add_rounds_once() -> None:
    """Against exact rational arithmetic, on values where rounding twice would be wrong."""
    from fractions import Fraction

    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal(3000).astype(np.float32) for _ in range(2))
    c = (-(a.astype(np.float64) * b) * (1 + 2.0**-25 * rng.integers(-3, 4, 3000))).astype(np.float32)
    result = fmath.fma(a, b, c)
    for ai, bi, ci, ri in zip(a, b, c, result, strict=True):
        exact = Fraction(float(ai)) * Fraction(float(bi)) + Fraction(float(ci))
        error = abs(exact - Fraction(float(ri)))
        for neighbour in (np.nextafter(ri, np.float32(np.inf)), np.nextafter(ri, np.float32(-np.inf))):
            assert error <= abs(exact - Fraction(float(neighbour)))
