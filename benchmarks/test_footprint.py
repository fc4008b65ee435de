"""Import time and memory, each in fresh processes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.conftest import SideBySide
from benchmarks.interleave import Local
from benchmarks.table import Figure
from benchmarks.worker import ROOT

MIB = 2**20


def python(*arguments: str) -> str:
    """Run a fresh interpreter and return what it printed."""
    return subprocess.run([sys.executable, *arguments], cwd=ROOT, check=True, capture_output=True, text=True).stdout


def test_import_time(side_by_side: SideBySide) -> None:
    """The whole interpreter start with both imports; the table shows the ratio, the target is the difference."""
    subject = Local(lambda: python("-c", "import numpy, rpu_sim"))
    reference = Local(lambda: python("-c", "import numpy"))
    side_by_side("import", "import numpy, rpu_sim", subject, "import numpy", reference, "<= 0.15 s more")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads the resident memory from /proc")
@pytest.mark.parametrize("device", ["constant", "soft"])
@pytest.mark.parametrize("size", [1024, 4096])
def test_memory(size: int, device: str, benchmark: BenchmarkFixture, record_figure: Callable[[Figure], None]) -> None:
    printed = benchmark.pedantic(python, args=("-m", "benchmarks.footprint", str(size), device), rounds=1)
    measured = json.loads(printed)
    floats = measured["state"] / (4 * size * size)
    construction, updates = ((measured[step] - measured["state"]) / MIB for step in ("construction", "updates"))
    value = f"{floats:.2f} floats per cell; {construction:.0f} MiB more to construct, {updates:.0f} MiB more to update"
    record_figure(Figure("memory", f"{device} {size}x{size}", value, "<= 6 floats per cell, workspace <= 64 MiB"))
