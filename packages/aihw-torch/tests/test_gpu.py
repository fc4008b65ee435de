"""Runs the tests of `gpu_*.py` in a process of their own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

CASES = sorted(map(str, Path(__file__).parent.glob("gpu_*.py")))


def test_layers_on_a_gpu():
    """The emulated device must be known to torch before the first backward pass of a process."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *CASES]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    if " passed" not in done.stdout:
        pytest.skip("there is neither a CUDA device nor an emulated one (RPU_EMULATED_CUDA=ON)")
