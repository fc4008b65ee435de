"""Philox4x32-10 and standard normals from it, in Python array-API operations only.

A counter-based generator has no state: a block of four 32-bit words is a pure function of a 128-bit counter and a
64-bit key, so any draw can be computed alone, in any order, on any array library. Source: Salmon et al., "Parallel
random numbers: as easy as 1, 2, 3", SC 2011, doi:10.1145/2063384.2063405.

The normals use only additions, multiplications, comparisons, square roots and exact conversions, never a library's
`log` or `cos`, whose last bits differ between libraries. Evaluated operation by operation, NumPy, torch, JAX and
array_api_strict return the same bits; a compiler that fuses multiplications and additions may change the last one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Array = Any
Words = tuple[Array, Array, Array, Array]

_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)
_MASK = 0xFFFFFFFF


@dataclass(frozen=True)
class WordArithmetic:
    """How 32-bit words are held by one array library.

    Attributes:
        dtype: integer dtype of the arrays that hold words.
        constant: turns a Python integer below 2**32 into an operand for such arrays.
        multiply: (words, constant) -> (high, low) 32 bits of the 64-bit product.
    """

    dtype: Any
    constant: Callable[[int], Any]
    multiply: Callable[[Array, int], tuple[Array, Array]]


def word_arithmetic(xp: Any, device: Any) -> WordArithmetic:
    """The fastest exact representation of 32-bit words that the namespace `xp` offers on `device`."""
    available = xp.__array_namespace_info__().dtypes()
    if "uint64" in available:
        return WordArithmetic(xp.uint64, int, _multiply_unsigned)
    if "int64" in available:
        return WordArithmetic(xp.int64, int, _multiply_signed)
    return narrow_arithmetic(xp, device)


def narrow_arithmetic(xp: Any, device: Any) -> WordArithmetic:
    """Words in uint32 arrays, for libraries without 64-bit integers (JAX by default)."""

    def constant(value: int) -> Array:
        return xp.asarray(value, dtype=xp.uint32, device=device)

    def multiply(words: Array, factor: int) -> tuple[Array, Array]:
        f_low, f_high, low_half = constant(factor & 0xFFFF), constant(factor >> 16), constant(0xFFFF)
        w_low, w_high = words & low_half, words >> 16
        middle = w_high * f_low + ((w_low * f_low) >> 16)
        carry = w_low * f_high + (middle & low_half)
        return w_high * f_high + (middle >> 16) + (carry >> 16), words * constant(factor)

    return WordArithmetic(xp.uint32, constant, multiply)


def _multiply_unsigned(words: Array, factor: int) -> tuple[Array, Array]:
    product = words * factor
    return product >> 32, product & _MASK


def _multiply_signed(words: Array, factor: int) -> tuple[Array, Array]:
    product = words * factor  # wraps; the mask removes the copies of the sign bit that >> shifts in
    return (product >> 32) & _MASK, product & _MASK


def philox4x32(counter: Words, key: int, arithmetic: WordArithmetic) -> Words:
    """Ten rounds of Philox4x32.

    Args:
        counter: four arrays of words (dtype `arithmetic.dtype`, values below 2**32) that broadcast together.
        key: 64-bit key; its low half is the first key word.
        arithmetic: result of `word_arithmetic`.

    Returns:
        Four arrays of random words, of the broadcast shape.
    """
    c0, c1, c2, c3 = counter
    k0, k1 = key & _MASK, key >> 32
    for _ in range(10):
        high0, low0 = arithmetic.multiply(c0, _MULTIPLIERS[0])
        high1, low1 = arithmetic.multiply(c2, _MULTIPLIERS[1])
        c0, c1, c2, c3 = high1 ^ (c1 ^ arithmetic.constant(k0)), low1, high0 ^ (c3 ^ arithmetic.constant(k1)), low0
        k0, k1 = (k0 + _WEYL[0]) & _MASK, (k1 + _WEYL[1]) & _MASK
    return c0, c1, c2, c3


def normal_pair(xp: Any, first: Array, second: Array) -> tuple[Array, Array]:
    """Two independent float32 standard normals from two arrays of words (Box-Muller on the top 24 bits of each).

    The radius uses (k + 1) / 2**24, so it is finite and at most sqrt(48 ln 2) = 5.77.
    """
    radius = _square_root(xp, _log_fraction(xp, xp.astype(first >> 8, xp.float32) + 1.0) * -2.0)
    sine, cosine = _sine_cosine(xp, xp.astype(second >> 8, xp.float32) * 2.0**-24)
    return radius * cosine, radius * sine


def _log_fraction(xp: Any, count: Array) -> Array:
    """ln(count / 2**24) for float32 integers 1 <= count <= 2**24; polynomial of Cephes `logf` (S. Moshier)."""
    mantissa, exponent = count, -24.0
    for shift in (16, 8, 4, 2, 1):  # mantissa ends in [sqrt(1/2), sqrt(2))
        large = xp.astype(mantissa >= _SQRT_HALF * 2.0**shift, xp.float32)
        mantissa = mantissa * (1.0 - large * (1.0 - 2.0**-shift))
        exponent = exponent + large * shift
    m = mantissa - 1.0
    z = m * m
    y = m * 7.0376836292e-2 - 1.1514610310e-1
    for coefficient in _LOG_COEFFICIENTS:
        y = y * m + coefficient
    y = (y * m + 3.3333331174e-1) * m * z
    y = y + exponent * -2.12194440e-4 - z * 0.5
    return (m + y) + exponent * 0.693359375


_SQRT_HALF = 0.707106769084930419921875  # float32(sqrt(1/2))
_LOG_COEFFICIENTS = (
    1.1676998740e-1,
    -1.2420140846e-1,
    1.4249322787e-1,
    -1.6668057665e-1,
    2.0000714765e-1,
    -2.4999993993e-1,
)


def _square_root(xp: Any, x: Array) -> Array:
    """Correctly rounded float32 square root: torch's own is not, so it is taken in float64 where there is one."""
    if "float64" not in xp.__array_namespace_info__().dtypes():
        return xp.sqrt(x)
    return xp.astype(xp.sqrt(xp.astype(x, xp.float64)), xp.float32)


def _sine_cosine(xp: Any, turns: Array) -> tuple[Array, Array]:
    """sin and cos of 2 pi turns, 0 <= turns < 1; polynomials of Cephes `sinf`, `cosf` (S. Moshier)."""
    quarter = xp.floor(turns * 4.0 + 0.5)
    x = (turns - quarter * 0.25) * 6.2831853
    z = x * x
    sine = ((z * -1.9515295891e-4 + 8.3321608736e-3) * z - 1.6666654611e-1) * z * x + x
    cosine = ((z * 2.443315711809948e-5 - 1.388731625493765e-3) * z + 4.166664568298827e-2) * z * z - z * 0.5 + 1.0
    half = xp.floor(quarter * 0.5)
    odd = quarter - half * 2.0
    sine_sign = 1.0 - (half - xp.floor(half * 0.5) * 2.0) * 2.0  # - in the 3rd and 4th quarter
    cosine_sign = sine_sign * (1.0 - odd * 2.0)
    is_odd = odd > 0.5
    return sine_sign * xp.where(is_odd, cosine, sine), cosine_sign * xp.where(is_odd, sine, cosine)
