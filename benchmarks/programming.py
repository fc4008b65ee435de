"""Programming, one drift and a read of 11 M weights: `python -m benchmarks.programming LIBRARY GENERATOR`.

Prints JSON: seconds of the clock given, and memory in units of the weights: what the state adds, and the most that
programming and reading ever add.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

import numpy as np

from aihw_inference import Native, PCMLikeNoiseModel, Philox, program
from benchmarks.footprint import forget_peak, memory
from benchmarks.interleave import CLOCKS

SHAPE = (3320, 3314)  # 11.0 M, the size of ResNet-18
RUNS = 3


def weights_of(library: str) -> Any:
    """Normal weights clipped to +-1, of NumPy or torch."""
    weights = np.clip(0.25 * np.random.default_rng(0).standard_normal(SHAPE, np.float32), -1.0, 1.0)
    if library == "numpy":
        return weights
    import torch

    return torch.from_numpy(weights)


def measure(library: str, generator: str, clock: str, threads: int) -> dict[str, float]:
    """Program and read several times; the least time, because the machine may be busy."""
    if library == "torch":
        import torch

        torch.set_num_threads(threads)
    weights, model = weights_of(library), PCMLikeNoiseModel()
    rng = Native(1) if generator == "native" else Philox(1)
    program(weights[:64], model, rng=rng).weights_at(3600.0)  # first calls load code
    forget_peak()
    before, _ = memory()
    state = program(weights, model, rng=rng)
    held, most = (bytes_ - before for bytes_ in memory())
    forget_peak()
    read = state.weights_at(3600.0)
    most = max(most, memory()[1] - before)
    del state, read
    times = []
    for _ in range(RUNS):
        start = CLOCKS[clock]()
        program(weights, model, rng=rng).weights_at(3600.0)
        times.append(CLOCKS[clock]() - start)
    unit = 4.0 * SHAPE[0] * SHAPE[1]
    return {"seconds": min(times), "state": held / unit, "peak": most / unit}


def main() -> None:
    """Measure the case named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("library", choices=("numpy", "torch"))
    parser.add_argument("generator", choices=("native", "philox"))
    parser.add_argument("--clock", default="wall", choices=CLOCKS)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    json.dump(measure(arguments.library, arguments.generator, arguments.clock, arguments.threads), sys.stdout)


if __name__ == "__main__":
    main()
