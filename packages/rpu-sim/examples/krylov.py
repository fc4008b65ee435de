"""Solve a linear system to double precision with a matrix that the crossbar multiplies with an error of many percent.

    python krylov.py

The analog matrix does the many products of an inner Krylov solver; a few exact products correct what it got wrong, so
the accuracy is that of the digital computer (Le Gallo et al., Nature Electronics 1, 246 (2018),
doi:10.1038/s41928-018-0054-8). The matrix is the covariance of that paper: dense, symmetric, positive definite.

Only rpu_sim, numpy and scipy are needed.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.sparse.linalg import LinearOperator, aslinearoperator, cg, gcrotmk, gmres

from rpu_sim.config import IdealDevice, IOParameters, MappingParameter, SingleRPUConfig
from rpu_sim.linalg import AnalogMatrix

TOLERANCE = 1e-12
INNER = 8  # analog products of one inner solve


class Counted(LinearOperator):
    """An operator that counts its products."""

    def __init__(self, operator: Any) -> None:
        self.operator, self.products = operator, 0
        super().__init__(operator.dtype, operator.shape)

    def _matvec(self, x: Any) -> Any:
        self.products += 1
        return self.operator.matvec(x)


def covariance(n: int) -> Any:
    """1 / |i - j| beside a growing diagonal."""
    i = np.arange(1, n + 1)
    distance = np.abs(i[:, None] - i) + np.eye(n)
    return (1 - np.eye(n)) / distance + np.diag(1 + np.sqrt(i))


def rough_solve(analog: Any, r: Any) -> Any:
    """A few analog steps of GMRES; the right-hand side is scaled, because converters have a fixed range."""
    size = np.linalg.norm(r)
    return size * gmres(analog, r / size, restart=INNER, maxiter=1)[0].astype(np.float64)


def refine(exact: Any, analog: Any, b: Any) -> Any:
    """Iterative refinement: solve roughly for the residual, add the best multiple of the result, repeat."""
    x, r = np.zeros_like(b), b
    for _ in range(100):
        if np.linalg.norm(r) <= TOLERANCE * np.linalg.norm(b):
            break
        step = rough_solve(analog, r)
        image = exact @ step
        length = (image @ r) / (image @ image)
        x, r = x + length * step, r - length * image
    return x


def main(n: int = 200) -> dict[str, tuple[float, int, int]]:
    """Residual and numbers of exact and analog products of each method."""
    a = covariance(n)
    b = np.random.default_rng(0).standard_normal(n)
    io = IOParameters(out_noise=0.02)
    config = SingleRPUConfig(
        device=IdealDevice(), forward=io, backward=io, mapping=MappingParameter(weight_scaling_omega=1.0)
    )
    methods = {
        "conjugate gradients, exact products": lambda exact, analog: cg(exact, b, rtol=TOLERANCE)[0],
        "GMRES, analog products": lambda exact, analog: (
            gmres(analog, b / np.linalg.norm(b), restart=n, maxiter=1)[0] * np.linalg.norm(b)
        ),
        "iterative refinement of analog GMRES": lambda exact, analog: refine(exact, analog, b),
        "flexible GCROT, preconditioned by analog GMRES": lambda exact, analog: gcrotmk(
            exact, b, rtol=TOLERANCE, M=LinearOperator(a.shape, lambda r: rough_solve(analog, r), dtype=a.dtype)
        )[0],
    }
    found = {}
    for name, solve in methods.items():
        exact, analog = Counted(aslinearoperator(a)), Counted(AnalogMatrix(a, config, seed=1))
        x = solve(exact, analog)
        residual = float(np.linalg.norm(b - a @ x) / np.linalg.norm(b))
        found[name] = (residual, exact.products, analog.products)
        print(f"{name:48} residual {residual:.0e}   products: {exact.products:3} exact, {analog.products:3} analog")
    return found


if __name__ == "__main__":
    main()
