"""A crossbar as preconditioner: flexible GMRES for many systems that share one expensive part.

Poisson's equation in two dimensions with a potential that changes, (L + diag(c)) u = f. The inverse of L is written
into a crossbar once and is a preconditioner for every c; its products have an error of many percent, which a flexible
method bears (doi:10.1038/s41928-018-0054-8). Compared is the number of exact products that it takes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.sparse.linalg import LinearOperator, gcrotmk

from aihw_torch.config import IdealDevice, IOParameters, MappingParameter, SingleRPUConfig
from aihw_torch.experiments import command_line, format_table
from rpu_sim.linalg import AnalogMatrix


def laplacian(n: int) -> np.ndarray:
    """Minus the Laplacian on n x n points with zero boundary."""
    line = 2.0 * np.eye(n) - np.eye(n, k=1) - np.eye(n, k=-1)
    return np.kron(line, np.eye(n)) + np.kron(np.eye(n), line)


def products(matrix: np.ndarray, f: np.ndarray, preconditioner: LinearOperator | None) -> tuple[int, float]:
    """Number of products with the exact matrix, and the relative residual in the end."""
    count = 0

    def product(x: np.ndarray) -> np.ndarray:
        nonlocal count
        count += 1
        return matrix @ x

    u, _ = gcrotmk(LinearOperator(matrix.shape, product, dtype=float), f, rtol=1e-10, m=20, M=preconditioner)
    return count, float(np.linalg.norm(f - matrix @ u) / np.linalg.norm(f))


def main(arguments: Sequence[str] | None = None) -> list[dict[str, float | str]]:
    """Solve in three ways, print a table, and return the rows."""
    options = command_line(__doc__, arguments, points=(20, "along each side"), systems=3)

    rng = np.random.default_rng(options.seed)
    matrix = laplacian(options.points)
    inverse = np.linalg.inv(matrix)
    io = IOParameters(out_noise=0.02)
    config = SingleRPUConfig(
        device=IdealDevice(), forward=io, backward=io, mapping=MappingParameter(weight_scaling_omega=1.0)
    )
    analog = AnalogMatrix(inverse, config, seed=options.seed)

    def scaled(r: np.ndarray) -> np.ndarray:
        size = np.abs(r).max()  # converters have a fixed range
        return size * (analog @ (r / size)).astype(float)

    x = rng.standard_normal(len(matrix))
    error = float(np.linalg.norm(scaled(x) - inverse @ x) / np.linalg.norm(inverse @ x))
    print(f"{matrix.shape[0]} unknowns; relative error of an analog product with the inverse: {error:.3f}\n")
    preconditioners = {
        "none": None,
        "exact inverse of L": LinearOperator(matrix.shape, lambda r: inverse @ r, dtype=float),
        "analog inverse of L": LinearOperator(matrix.shape, scaled, dtype=float),
    }
    rows: list[dict[str, float | str]] = []
    systems = [(rng.uniform(0.0, 0.1, len(matrix)), rng.standard_normal(len(matrix))) for _ in range(options.systems)]
    for name, preconditioner in preconditioners.items():
        found = [products(matrix + np.diag(c), f, preconditioner) for c, f in systems]
        mean = float(np.mean([count for count, _ in found]))
        rows.append({"preconditioner": name, "exact products": mean, "residual": max(r for _, r in found)})
    print(format_table(rows))
    return rows


if __name__ == "__main__":
    main()
