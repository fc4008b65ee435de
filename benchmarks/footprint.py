"""Memory of one pulsed tile in a fresh process: `python -m benchmarks.footprint SIZE DEVICE`; prints JSON, in bytes.

`state` is what the tile adds to the resident memory, `construction` the most that constructing it ever adds, and
`updates` the most that updates of BATCH samples do, the state included.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np

import rpu_sim
import rpu_sim.config
from benchmarks.cases import DEVICES, LEARNING_RATE, Case, build_config

BATCH = 64
MIB = 2**20


def memory() -> tuple[int, int]:
    """Bytes of this process in memory (Linux): now, and the most since `forget_peak`."""
    # getrusage has a peak as well, but a child starts with its parent's.
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    now, most = (1024 * int(status[name].split()[0]) for name in ("VmRSS", "VmHWM"))
    return now, most


def forget_peak() -> None:
    """Let the peak start again from what is in memory now (Linux)."""
    Path("/proc/self/clear_refs").write_text("5")


def measure(case: Case) -> dict[str, int]:
    """Construct a tile and update it."""
    rng = np.random.default_rng(0)
    x = 0.3 * rng.standard_normal((case.batch, case.in_size), np.float32)
    d = 0.1 * rng.standard_normal((case.batch, case.out_size), np.float32)
    rpu_sim.Tile(8, 8).update(x[:, :8], d[:, :8], LEARNING_RATE)  # the thread pool and the code pages count for no tile
    forget_peak()
    before, _ = memory()
    tile = rpu_sim.Tile(case.out_size, case.in_size, build_config(rpu_sim.config, case), seed=1)
    state, construction = (bytes_ - before for bytes_ in memory())
    forget_peak()
    for sign in (1.0, -1.0):
        tile.update(x, sign * d, LEARNING_RATE)
    return {"state": state, "construction": construction, "updates": memory()[1] - before}


def main() -> None:
    """Measure the tile named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("size", type=int)
    parser.add_argument("device", choices=DEVICES)
    arguments = parser.parse_args()
    size = arguments.size
    json.dump(measure(Case("update", arguments.device, size, size, BATCH)), sys.stdout)


if __name__ == "__main__":
    main()
