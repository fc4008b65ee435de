"""Converting a ResNet-18 to analog layers, in fresh processes."""

from __future__ import annotations

import json
import sys

import pytest

from benchmarks.conftest import Measure
from benchmarks.footprint import MIB
from benchmarks.test_footprint import python

pytest.importorskip("aihw_torch", reason="measures aihw-torch")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads the resident memory from /proc")
@pytest.mark.parametrize("config", ["constant", "soft", "inference"])
def test_conversion(config: str, request: pytest.FixtureRequest, figure: Measure) -> None:
    options = [f"--{name}={request.config.getoption(f'--{name}')}" for name in ("clock", "threads")]

    def measured() -> str:
        found = json.loads(python("-m", "benchmarks.conversion", config, *options))
        sizes = ", ".join(f"{name} {found[name] / MIB:.0f} MiB" for name in ("model", "held", "peak"))
        return f"{found['seconds']:.2f} s, deep copy {found['copy']:.3f} s; {sizes}"

    figure("conversion", f"ResNet-18, {config}", measured, "<= 1 s, peak <= 1.2x what is held")
