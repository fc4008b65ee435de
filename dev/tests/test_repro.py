"""The reproductions run, and their results hold at a smaller scale."""

from __future__ import annotations

import runpy
from pathlib import Path

REPRODUCTIONS = Path(__file__).parents[1] / "repro"


def test_weight_programming() -> None:
    """Half a run of the published study: SGD is worse than TTv2, which a misplaced reference ruins; AGAD bears it.

    The margins are more than ten standard deviations over seeds (0.3 to 4 percent points of the error).
    """
    study = runpy.run_path(str(REPRODUCTIONS / "training.py"))
    error, configuration = study["weight_error"], study["configuration"]
    sgd, ttv2, misplaced, agad = (
        error(configuration(name, offset), seed=1, samples=12_000, learning_rate=0.1)
        for name, offset in (("SGD", 0.0), ("TTv2", 0.0), ("TTv2", 0.5), ("AGAD", 0.5))
    )
    assert ttv2 < 0.6 * sgd
    assert misplaced > 2.0 * sgd
    assert agad < 0.6 * sgd
