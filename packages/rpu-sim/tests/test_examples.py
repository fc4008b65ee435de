"""The examples run and learn."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


def run(name: str) -> dict[str, Any]:
    return runpy.run_path(str(EXAMPLES / name))


def test_numpy() -> None:
    pytest.importorskip("sklearn", reason="the data come from scikit-learn")
    assert run("numpy_training.py")["main"](epochs=3) > 0.8


@pytest.mark.parametrize(("name", "needs"), [("jax_training.py", "jax"), ("torch_training.py", "torch")])
def test_frameworks(name: str, needs: str) -> None:
    pytest.importorskip(needs, reason=f"the example uses {needs}")
    losses = run(name)["main"]()
    assert sum(losses[-10:]) < 0.3 * sum(losses[:10])


def test_weight_programming() -> None:
    """Half a run of the published study: SGD is worse than TTv2, which a misplaced reference ruins; AGAD bears it.

    The margins are more than ten standard deviations over seeds (0.3 to 4 percent points of the error).
    """
    error = run("weight_programming.py")["weight_error"]
    sgd, ttv2, misplaced, agad = (
        100.0 * error(name, offset, seed=1, samples=12_000, learning_rate=0.1)
        for name, offset in (("SGD", 0.0), ("TTv2", 0.0), ("TTv2", 0.5), ("AGAD", 0.5))
    )
    assert ttv2 < 0.6 * sgd
    assert misplaced > 2.0 * sgd
    assert agad < 0.6 * sgd
