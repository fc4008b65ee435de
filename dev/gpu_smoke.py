"""Run each operation once on a GPU and compare it with the CPU; `--times` prints how long large ones take instead.

The times include copies of all arrays to the GPU and back, so they bound what a kernel takes from above; `nsys` tells
the kernels apart.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import numpy as np

from rpu_sim import Tile, backends, cuda, modify_weights
from rpu_sim import config as c

DEVICES = {
    "constant": c.ConstantStepDevice(),
    "soft": c.SoftBoundsDevice(),
    "exp": c.ExpStepDevice(),
    "piecewise": c.PiecewiseStepDevice(piecewise_up=(1.5, 1.0, 0.2), piecewise_down=(0.2, 1.0, 1.5)),
}


def run(device: c.PulsedDevice, size: int, samples: int) -> dict[str, np.ndarray]:
    """Arrays that a tile gives in one step of training and of life."""
    rng = np.random.default_rng(0)
    x = (0.3 * rng.standard_normal((samples, size))).astype(np.float32)
    d = (0.1 * rng.standard_normal((samples, size))).astype(np.float32)
    tile = Tile(size, size, c.SingleRPUConfig(device=device), seed=1)
    results = {"y": tile.forward(x), "dx": tile.backward(d)}
    tile.update(x, d, 0.01)
    tile.decay(0.5)
    tile.diffuse()
    tile.reset(0, 3)
    results["weights"] = tile.get_weights()
    modifier = c.WeightModifierParameter(type=c.WeightModifierType.ADD_NORMAL, std_dev=0.1)
    results["modified"] = modify_weights(results["weights"], modifier, seed=1)
    return results


def compare() -> None:
    """Raise unless the GPU gives the bits of the CPU."""
    for name, device in DEVICES.items():
        expected = run(device, 96, 20)
        backends.offload("cuda")
        try:
            found = run(device, 96, 20)
        finally:
            backends.offload("cpu")
        for what, values in expected.items():
            if not np.array_equal(values.view(np.uint32), found[what].view(np.uint32)):
                raise SystemExit(f"{what} of {name} differs between GPU and CPU")
    print("GPU and CPU give the same bits")


def seconds(call: Callable[[], object]) -> float:
    """Median of several calls, warm."""
    call()
    took = []
    for _ in range(7):
        start = time.perf_counter()
        call()
        took.append(time.perf_counter() - start)
    return sorted(took)[3]


def times() -> None:
    """Print times of large operations on the GPU and on the CPU."""
    print("\n".join(cuda.report()))
    for size, samples in ((512, 64), (1024, 128), (2048, 512)):
        rng = np.random.default_rng(0)
        x = (0.3 * rng.standard_normal((samples, size))).astype(np.float32)
        for name, device in DEVICES.items():
            tile = Tile(size, size, c.SingleRPUConfig(device=device), seed=1)
            calls = {"forward": lambda t=tile, v=x: t.forward(v), "update": lambda t=tile, v=x: t.update(v, v, 1e-4)}
            for what, call in calls.items():
                on_cpu = seconds(call)
                backends.offload("cuda")
                on_gpu = seconds(call)
                backends.offload("cpu")
                took = f"{on_gpu * 1e3:8.3f} ms (CPU {on_cpu * 1e3:8.3f} ms)"
                print(f"{name:10} {what:8} {size} x {size}, {samples}: {took}")


if __name__ == "__main__":
    times() if "--times" in sys.argv[1:] else compare()
