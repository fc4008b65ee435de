"""What one call costs when there is next to nothing to compute: 64 x 64, one sample, state in NumPy and in torch."""

from __future__ import annotations

import pytest

from benchmarks.cases import LEARNING_RATE, Case, operands
from benchmarks.conftest import SideBySide
from benchmarks.interleave import Local
from benchmarks.tiles import as_arrays, prepare

TARGETS = {("forward", "numpy"): "<= 3 us", ("forward", "torch"): "<= 8 us"}


def plain(case: Case, framework: str) -> Local:
    """The same operation on plain arrays."""
    inputs = operands(case)
    weights, x, d = (as_arrays(framework)(array) for array in (inputs.weights, inputs.x, inputs.d))

    def update() -> None:
        nonlocal weights
        weights += LEARNING_RATE * (d.T @ x)

    return Local({"forward": lambda: x @ weights.T, "backward": lambda: d @ weights, "update": update}[case.operation])


@pytest.mark.parametrize("framework", ["numpy", "torch"])
@pytest.mark.parametrize("operation", ["forward", "backward", "update"])
def test_call(operation: str, framework: str, side_by_side: SideBySide) -> None:
    case = Case(operation, "constant", 64, 64, 1)
    target = TARGETS.get((operation, framework), "")
    name = f"{case} {framework}"
    side_by_side("small calls", name, prepare(case, framework), f"plain {framework}", plain(case, framework), target)
