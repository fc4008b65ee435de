"""The package imports nothing but NumPy and array-api-compat."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import sys
import aihw_inference as ai, numpy as np
ai.program(np.eye(3), ai.PCMLikeNoiseModel(), rng=ai.Native(1)).weights_at(1.0)
others = "torch", "jax", "cupy", "scipy", "rpu_sim", "aihw_presets", "aihw_torch"
print([name for name in others if name in sys.modules])
"""


def test_imports_and_runs_on_numpy_alone():
    done = subprocess.run([sys.executable, "-W", "error", "-c", SCRIPT], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
