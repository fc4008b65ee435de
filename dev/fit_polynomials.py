"""Fit the polynomials of core/fmath.hpp anew, compare, and measure the errors of the functions as they are.

Each function is an exact leading part plus a correction whose polynomial is the minimax fit, in relative error of the
function, over the interval that argument reduction leaves. Run it as `python dev/fit_polynomials.py`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.polynomial.polynomial import polyval
from numpy.typing import NDArray

from rpu_sim.reference import fmath

Float64 = NDArray[np.float64]
Function = Callable[[Float64], Float64]

HEADER = Path(__file__).resolve().parents[1] / "packages" / "rpu-sim" / "core" / "fmath.hpp"
COEFFICIENT = re.compile(r"(?<!e )([*+-]) (-?\d\.\d+e-\d+)f")  # `e *` precedes the low part of ln 2
HALF_ULP = 2.0**-24  # largest relative error of a correctly rounded float


@dataclass
class Form:
    """The polynomial of one function: function = leading part + (weight * function) * polynomial."""

    name: str
    statement: str  # what the header assigns it in
    target: Function
    weight: Function
    low: float
    high: float
    degree: int

    def grid(self) -> Float64:
        """Points of the interval, without those around 0 where the target is a quotient of tiny numbers."""
        points = np.linspace(self.low, self.high, 200_001)
        return points[np.abs(points) > 1e-4]

    def error(self, coefficients: Float64) -> float:
        """The largest relative error that a polynomial causes in the function."""
        at = self.grid()
        return float(np.max(np.abs(self.weight(at) * (polyval(at, coefficients) - self.target(at)))))


def _root(f: Function) -> Function:
    return lambda z: f(np.sqrt(z))


FORMS = [
    Form(
        "log(1 + m) = m - m^2/2 + m^3 P(m)",
        "F log_(",
        lambda m: (np.log1p(m) - m + m * m / 2) / m**3,
        lambda m: m**3 / np.log1p(m),
        np.sqrt(0.5) - 1,
        np.sqrt(2.0) - 1,
        8,
    ),
    Form(
        "exp(r) = 1 + r + r^2 P(r)",
        "F exp_(",
        lambda r: (np.expm1(r) - r) / r**2,
        lambda r: r**2 / np.exp(r),
        -np.log(2) / 2,
        np.log(2) / 2,
        5,
    ),
    Form(
        "2^r = 1 + r P(r)",
        "F exp2_(",
        lambda r: np.expm1(r * np.log(2)) / r,
        lambda r: r / np.exp2(r),
        -0.5,
        0.5,
        5,
    ),
    Form(
        "tanh(x) = x + x^3 P(x^2)",
        "F tanh_(",
        _root(lambda x: (np.tanh(x) / x - 1) / x**2),
        _root(lambda x: x**3 / np.tanh(x)),
        0.0,
        0.625**2,
        4,
    ),
    Form(
        "sin(x) = x + x^3 P(x^2)",
        "const F s =",
        _root(lambda x: (np.sin(x) / x - 1) / x**2),
        _root(lambda x: x**3 / np.sin(x)),
        0.0,
        (np.pi / 4) ** 2,
        2,
    ),
    Form(
        "cos(x) = 1 - x^2/2 + x^4 P(x^2)",
        "const F c =",
        _root(lambda x: (np.cos(x) - 1 + x**2 / 2) / x**4),
        _root(lambda x: x**4 / np.cos(x)),
        0.0,
        (np.pi / 4) ** 2,
        2,
    ),
]


def minimax(form: Form, rounds: int = 30) -> Float64:
    """Coefficients of the weighted minimax polynomial, lowest order first (Remez exchange)."""
    n = form.degree + 2
    alternating = (-1.0) ** np.arange(n)
    grid = form.grid()
    target, weight = form.target(grid), form.weight(grid)
    chebyshev = 0.5 - 0.5 * np.cos(np.pi * np.arange(n) / (n - 1))
    chosen = np.round(chebyshev * (len(grid) - 1)).astype(int)
    for _ in range(rounds):
        powers = np.vander(grid[chosen], form.degree + 1, increasing=True)
        system = np.column_stack([powers, alternating / weight[chosen]])
        *coefficients, level = np.linalg.solve(system, target[chosen])
        error = weight * (polyval(grid, np.array(coefficients)) - target)
        if np.max(np.abs(error)) < abs(level) * (1 + 1e-6):
            break
        chosen = extrema(error)[:n]
    return np.array(coefficients)


def extrema(error: Float64) -> NDArray[np.intp]:
    """Where the error is largest between its changes of sign."""
    runs = np.split(np.arange(len(error)), np.flatnonzero(np.diff(np.signbit(error))) + 1)
    return np.array([run[np.argmax(np.abs(error[run]))] for run in runs])


def shipped(form: Form) -> Float64:
    """Coefficients of the header, lowest order first."""
    text = HEADER.read_text()
    body = text[text.index(form.statement) :]
    found = COEFFICIENT.findall(body)[: form.degree + 1]
    values = [float(number) * (-1 if operator == "-" else 1) for operator, number in found]
    return rounded_to_float(np.array(values[::-1]))


def rounded_to_float(values: Float64) -> Float64:
    """The float32 values that a compiler or the oracle would use."""
    return values.astype(np.float32).astype(np.float64)


def chunks(count: int, size: int = 1 << 20) -> Iterator[NDArray[np.int64]]:
    """The numbers 0 .. count - 1, in arrays of moderate size."""
    return (np.arange(first, min(first + size, count)) for first in range(0, count, size))


def ulps(result: NDArray[np.float32], exact: Float64) -> float:
    """The largest error in units of the last place of the exact result."""
    return float(np.max(np.abs(result - exact) / np.spacing(np.abs(exact).astype(np.float32))))


def measured_log() -> float:
    """Over every argument of the normal generator: k / 2^24 for k = 1 .. 2^24 - 1 (log 1 = 0 is exact)."""
    arguments = ((k + 1).astype(np.float32) / np.float32(2**24) for k in chunks(2**24 - 1))
    return max(ulps(fmath.log(x), np.log(x.astype(np.float64))) for x in arguments)


def measured_exp() -> float:
    """Over 2^23 arguments in [-87, 88]."""
    arguments = ((-87 + 175 * k / 2**23).astype(np.float32) for k in chunks(2**23))
    return max(ulps(fmath.exp(x), np.exp(x.astype(np.float64))) for x in arguments)


def measured_exp2() -> float:
    """Over 2^23 arguments in [-126, 127]."""
    arguments = ((-126 + 253 * k / 2**23).astype(np.float32) for k in chunks(2**23))
    return max(ulps(fmath.exp2(x), np.exp2(x.astype(np.float64))) for x in arguments)


def measured_tanh() -> float:
    """Over 2^23 arguments in (0, 10]; the function is odd."""
    arguments = ((10 * (k + 1) / 2**23).astype(np.float32) for k in chunks(2**23))
    return max(ulps(fmath.tanh(x), np.tanh(x.astype(np.float64))) for x in arguments)


def measured_sincos() -> float:
    """Over every argument of the normal generator, as an absolute error."""
    worst = 0.0
    for k in chunks(2**24):
        t = k.astype(np.float32) / np.float32(2**24)
        angle = 2 * np.pi * t.astype(np.float64)
        for result, exact in zip(fmath.sincos2pi(t), (np.sin(angle), np.cos(angle)), strict=True):
            worst = max(worst, float(np.max(np.abs(result - exact))))
    return worst


def main() -> None:
    """Print the comparison."""
    print("error: largest relative error caused by the polynomial, in half units of the last place (2^-24)\n")
    for form in FORMS:
        fitted, ours = minimax(form), shipped(form)
        print(f"{form.name}   degree {form.degree} on [{form.low:.4f}, {form.high:.4f}]")
        best, rounded = form.error(fitted) / HALF_ULP, form.error(rounded_to_float(fitted)) / HALF_ULP
        print(
            f"  error {form.error(ours) / HALF_ULP:.4f} as shipped; fitted {best:.4f}, rounded to float32 {rounded:.4f}"
        )
        for order, (a, b) in enumerate(zip(ours, fitted, strict=True)):
            print(f"  P[{order}]  shipped {a:+.10e}  fitted {b:+.10e}")
    print("\nlargest error of the functions as they are")
    print(f"  log        {measured_log():.3f} ulp")
    print(f"  exp        {measured_exp():.3f} ulp")
    print(f"  exp2       {measured_exp2():.3f} ulp")
    print(f"  tanh       {measured_tanh():.3f} ulp")
    print(f"  sincos2pi  {measured_sincos():.2e} absolute")


if __name__ == "__main__":
    main()
