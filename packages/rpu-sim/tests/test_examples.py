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
