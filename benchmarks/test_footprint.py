"""Import time and memory, each in fresh processes."""

from __future__ import annotations

import json
import subprocess
import sys
from statistics import median

import pytest

from benchmarks.conftest import Measure
from benchmarks.footprint import MIB
from benchmarks.interleave import CLOCKS
from benchmarks.table import duration
from benchmarks.worker import ROOT


def python(*arguments: str) -> str:
    """Run a fresh interpreter and return what it printed."""
    return subprocess.run([sys.executable, *arguments], cwd=ROOT, check=True, capture_output=True, text=True).stdout


IMPORTS = """
from time import {clock} as clock
start = clock(); import numpy; middle = clock(); import rpu_sim; end = clock()
print(middle - start, end - middle)
"""


def import_times(clock: str) -> str:
    script = IMPORTS.format(clock=CLOCKS[clock].__name__)
    runs = [[float(seconds) for seconds in python("-c", script).split()] for _ in range(15)]
    numpy, ours = (duration(median(times)) for times in zip(*runs, strict=True))
    return f"{ours}, NumPy itself {numpy}"


def memory(size: int, device: str) -> str:
    measured = json.loads(python("-m", "benchmarks.footprint", str(size), device))
    floats = measured["state"] / (4 * size * size)
    construction, updates = ((measured[step] - measured["state"]) / MIB for step in ("construction", "updates"))
    return f"{floats:.2f} floats per cell; {construction:.0f} MiB more to construct, {updates:.0f} MiB more to update"


def test_import_time(request: pytest.FixtureRequest, figure: Measure) -> None:
    clock = request.config.getoption("--clock")
    figure("import", "rpu_sim after NumPy", lambda: import_times(clock), "<= 150 ms")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads the resident memory from /proc")
@pytest.mark.parametrize("device", ["constant", "soft"])
@pytest.mark.parametrize("size", [1024, 4096])
def test_memory(size: int, device: str, figure: Measure) -> None:
    target = "<= 6 floats per cell, workspace <= 64 MiB"
    figure("memory", f"{device} {size}x{size}", lambda: memory(size, device), target)
