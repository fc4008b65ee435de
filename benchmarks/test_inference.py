"""Programming, one drift and a read of 11 M weights, in fresh processes."""

from __future__ import annotations

import json
import sys

import pytest

from benchmarks.conftest import Measure
from benchmarks.test_footprint import python

pytest.importorskip("aihw_inference", reason="measures aihw-inference")
TARGETS = {"native": "<= 1.5 s", "philox": "<= 3 s"}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads the resident memory from /proc")
@pytest.mark.parametrize("generator", list(TARGETS))
@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_programming(library: str, generator: str, request: pytest.FixtureRequest, figure: Measure) -> None:
    options = [f"--{name}={request.config.getoption(f'--{name}')}" for name in ("clock", "threads")]

    def measured() -> str:
        found = json.loads(python("-m", "benchmarks.programming", library, generator, *options))
        return f"{found['seconds']:.2f} s; state {found['state']:.1f}x the weights, peak {found['peak']:.1f}x"

    target = f"{TARGETS[generator]}, state <= 6x, peak <= 8x"
    figure("programming", f"11 M weights, {library}, {generator}", measured, target)
