"""A tile as a matrix: products with it and with its transpose, a rank-one update, and what they miss of the exact ones.

`AnalogMatrix` is a linear operator of SciPy (see 29 for a solver). With `realistic=True` the matrix is programmed by
pulses into the devices instead of being written exactly.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from aihw_torch.config import IOParameters, MappingParameter, SingleRPUConfig, SoftBoundsDevice
from aihw_torch.experiments import command_line, format_table
from rpu_sim.linalg import AnalogMatrix


def main(arguments: Sequence[str] | None = None) -> dict[str, float]:
    """Compute, print relative errors, and return them."""
    options = command_line(__doc__, arguments, size=60)

    rng = np.random.default_rng(options.seed)
    matrix = rng.uniform(-1.0, 1.0, (options.size, options.size // 2))
    x, d = rng.uniform(-1.0, 1.0, (options.size // 2, 10)), rng.uniform(-1.0, 1.0, (options.size, 10))
    io = IOParameters(out_noise=0.01)
    config = SingleRPUConfig(
        device=SoftBoundsDevice(w_max_dtod=0.0, w_min_dtod=0.0, w_min=-1.0, w_max=1.0),
        forward=io,
        backward=io,
        mapping=MappingParameter(weight_scaling_omega=0.6),
    )
    exact = AnalogMatrix(matrix, config, seed=options.seed)
    programmed = AnalogMatrix(matrix, config, realistic=True, seed=options.seed)
    before = exact.to_dense()
    exact.ger(x[:, 0], d[:, 0], alpha=0.02)
    update = exact.to_dense() - before

    def off(found: np.ndarray, wanted: np.ndarray) -> float:
        return float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted))

    rows = [
        {"operation": "A x, programmed by pulses", "relative error": off(programmed @ x, matrix @ x)},
        {"operation": "A^T d, programmed by pulses", "relative error": off(programmed.T @ d, matrix.T @ d)},
        {"operation": "A + alpha d x^T by pulses", "relative error": off(update, 0.02 * np.outer(d[:, 0], x[:, 0]))},
    ]
    exact.set_matrix(matrix)
    rows.insert(0, {"operation": "A x, written exactly", "relative error": off(exact @ x, matrix @ x)})
    print(format_table(rows))
    return {row["operation"]: row["relative error"] for row in rows}


if __name__ == "__main__":
    main()
