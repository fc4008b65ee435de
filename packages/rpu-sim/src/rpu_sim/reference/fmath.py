"""Elementary functions in float32, operation by operation as in ``core/fmath.hpp``."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
f32 = np.float32


def log(x: Float32) -> Float32:
    """Natural logarithm of positive normal numbers."""
    bits: NDArray[np.uint32] = x.view(np.uint32)
    exponent = (bits - np.uint32(0x3F3504F3)).view(np.int32) >> 23
    m = (bits - (exponent.view(np.uint32) << np.uint32(23))).view(f32) - f32(1)
    z = m * m
    y = m * f32(7.0376836292e-2) - f32(1.1514610310e-1)
    y = y * m + f32(1.1676998740e-1)
    y = y * m - f32(1.2420140846e-1)
    y = y * m + f32(1.4249322787e-1)
    y = y * m - f32(1.6668057665e-1)
    y = y * m + f32(2.0000714765e-1)
    y = y * m - f32(2.4999993993e-1)
    y = (y * m + f32(3.3333331174e-1)) * m * z
    e = exponent.astype(f32)
    y = y + e * f32(-2.12194440e-4) - f32(0.5) * z
    result: Float32 = (m + y) + e * f32(0.693359375)
    return result


def exp(x: Float32) -> Float32:
    """Exponential; the argument is limited to [-87, 88]."""
    x = np.clip(x, f32(-87.0), f32(88.0))
    n = (x * f32(1.44269504) + f32(128.5)).astype(np.int32) - np.int32(128)
    e = n.astype(f32)
    r = (x - e * f32(0.693359375)) - e * f32(-2.12194440e-4)
    y = r * f32(1.9875691500e-4) + f32(1.3981999507e-3)
    y = y * r + f32(8.3334519073e-3)
    y = y * r + f32(4.1665795894e-2)
    y = y * r + f32(1.6666665459e-1)
    y = y * r + f32(5.0000001201e-1)
    y = y * (r * r) + r + f32(1.0)
    scaled: NDArray[np.uint32] = y.view(np.uint32) + (n.view(np.uint32) << np.uint32(23))
    return scaled.view(f32)


def exp2(x: Float32) -> Float32:
    """Power of two; the argument is limited to [-126, 127]."""
    x = np.clip(x, f32(-126.0), f32(127.0))
    shifted = x + f32(12582912.0)
    r = x - (shifted - f32(12582912.0))
    y = r * f32(1.532647148e-4) + f32(1.339080627e-3)
    y = y * r + f32(9.618505836e-3)
    y = y * r + f32(5.550359935e-2)
    y = y * r + f32(2.402264774e-1)
    y = y * r + f32(6.931471825e-1)
    y = y * r + f32(1.0)
    scaled: NDArray[np.uint32] = y.view(np.uint32) + (shifted.view(np.uint32) << np.uint32(23))
    return scaled.view(f32)


def expm1_ratio(x: Float32) -> Float32:
    """(e^x - 1) / x, without cancellation."""
    e = exp(x)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(e == 1, f32(1), (e - f32(1)) / np.where(np.abs(x) < 1, log(e), x))


def log1p_ratio(x: Float32) -> Float32:
    """log(1 + x) / x, without cancellation; arguments below -1 count as -1."""
    y = np.maximum(f32(1) + x, f32(1.17549435e-38))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(y == 1, f32(1), log(y) / (y - f32(1)))


def tanh(x: Float32) -> Float32:
    """Hyperbolic tangent: a polynomial up to 0.625, then 1 - 2 / (exp(2 |x|) + 1)."""
    a = np.abs(x)
    z = a * a
    y = z * f32(-5.70498872745e-3) + f32(2.06390887954e-2)
    y = y * z + f32(-5.37397155531e-2)
    y = y * z + f32(1.33314422036e-1)
    y = y * z + f32(-3.33332819422e-1)
    small = y * z * a + a
    large = f32(1) - f32(2) / (exp(a + a) + f32(1))
    return np.copysign(np.where(a < f32(0.625), small, large), x)


def power(x: Float32, y: Float32) -> Float32:
    """x^y for 0 <= x <= 1; below the smallest normal number x counts as 0 (``core/physics/power.hpp``)."""
    smallest = f32(1.17549435e-38)
    return np.where((x < smallest) & (y > 0), f32(0), exp(y * log(np.maximum(x, smallest))))


def sincos2pi(t: Float32) -> tuple[Float32, Float32]:
    """Sine and cosine of 2 pi t, t in [0, 1)."""
    quadrant = (t * f32(4) + f32(0.5)).astype(np.int32)
    x = (t - quadrant.astype(f32) * f32(0.25)) * f32(6.2831853)
    z = x * x
    s = ((z * f32(-1.9515295891e-4) + f32(8.3321608736e-3)) * z - f32(1.6666654611e-1)) * z * x + x
    c = (z * f32(2.443315711809948e-5) - f32(1.388731625493765e-3)) * z + f32(4.166664568298827e-2)
    c = c * z * z - f32(0.5) * z + f32(1)
    odd = (quadrant & 1) != 0
    sine = np.where(odd, c, s).view(np.uint32) ^ ((quadrant & 2).view(np.uint32) << np.uint32(30))
    cosine = np.where(odd, s, c).view(np.uint32) ^ (((quadrant + 1) & 2).view(np.uint32) << np.uint32(30))
    return sine.view(f32), cosine.view(f32)


def normal2(a: NDArray[np.uint32], b: NDArray[np.uint32]) -> tuple[Float32, Float32]:
    """Two independent standard normals from two words (Box and Muller)."""
    scale = f32(2.0**-24)
    radius = np.sqrt(log(((a >> np.uint32(8)).astype(f32) + f32(1)) * scale) * f32(-2))
    sine, cosine = sincos2pi((b >> np.uint32(8)).astype(f32) * scale)
    return radius * cosine, radius * sine


def rint(v: Float32) -> Float32:
    """Round half to even, as in the core: tiny negative values give +0."""
    big = np.copysign(f32(8388608.0), v)
    return np.where(np.abs(v) < f32(8388608.0), (v + big) - big, v)


def fma(a: Float32, b: Float32, c: Float32) -> Float32:
    """a * b + c rounded once.

    The product of two float32 is exact in float64; the sum is rounded to odd there, so that the second rounding to
    float32 is the correct one (Boldo and Melquiond, doi:10.1109/TC.2007.70819).
    """
    p = a.astype(np.float64) * b.astype(np.float64)
    d = np.broadcast_to(c, p.shape).astype(np.float64)
    s = p + d
    t = s - p
    error = (p - (s - t)) + (d - t)
    bits = s.view(np.int64)
    inexact_even = (error != 0) & ((bits & 1) == 0)
    outwards = (error > 0) == (s > 0)
    return np.where(inexact_even, bits + np.where(outwards, 1, -1), bits).view(np.float64).astype(f32)
