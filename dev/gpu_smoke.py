"""Run each operation once on a GPU and compare it with the CPU; `--times` prints how long large ones take instead.

Tiles, inputs and outputs lie on the GPU. A time is that of many calls queued one behind the other, divided by their
number; `nsys` tells the kernels apart.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from rpu_sim import Tile, _core, cuda, gpu, modify_weights, together
from rpu_sim import config as c
from rpu_sim.windows import add_windows, copy_windows

DEVICES = {
    "constant": c.ConstantStepDevice(),
    "soft": c.SoftBoundsDevice(),
    "exp": c.ExpStepDevice(),
    "piecewise": c.PiecewiseStepDevice(piecewise_up=(1.5, 1.0, 0.2), piecewise_down=(0.2, 1.0, 1.5)),
}

# Every effect of the array, rounds of bound management, and time slices.
CHAINS = {
    "array": c.IOParameters(
        mv_type=c.AnalogMVType.POS_NEG_SEPARATE_DIGITAL_SUM,
        w_read_asymmetry_dtod=0.2,
        ir_drop=1.0,
        w_noise=0.02,
        w_noise_type=c.WeightNoiseType.PCM_READ,
        v_offset_std=0.05,
        r_series=0.02,
        out_nonlinearity=0.3,
        slope_calibration=0.4,
        inp_noise=0.05,
        out_noise_std=0.2,
        out_bound=0.5,
        bound_management=c.BoundManagementType.ITERATIVE_WORST_CASE,
        noise_management=c.NoiseManagementType.AVERAGE_ABS_MAX,
    ),
    "slices": c.IOParametersIRDropT(ir_drop=20.0, apply_xdep_pcm_read_noise=True, adc_frequency=2.0),
}


def run(device: c.PulsedDevice, size: int, samples: int, where: str) -> dict[str, np.ndarray]:
    """Arrays that a tile gives in one step of training and of life."""
    put = gpu.space(where).put
    rng = np.random.default_rng(0)
    x = put((0.3 * rng.standard_normal((samples, size))).astype(np.float32))
    d = put((0.1 * rng.standard_normal((samples, size))).astype(np.float32))
    tile = Tile(size, size, c.SingleRPUConfig(device=device), seed=1, device=where)
    results = {"y": tile.forward(x), "dx": tile.backward(d)}
    tile.update(x, d, 0.01)
    tile.decay(0.5)
    tile.diffuse()
    tile.reset(0, 3)
    results["weights"] = tile.get_weights()
    modifier = c.WeightModifierParameter(type=c.WeightModifierType.ADD_NORMAL, std_dev=0.1)
    results["modified"] = modify_weights(results["weights"], modifier, seed=1)
    tile.synchronize()
    return {name: gpu.host(values) for name, values in results.items()}


def run_together(device: c.PulsedDevice, size: int, samples: int, where: str) -> dict[str, np.ndarray]:
    """Arrays that several tiles give by one call for all of them."""
    put = gpu.space(where).put
    rng = np.random.default_rng(0)
    x = put((0.3 * rng.standard_normal((samples, size))).astype(np.float32))
    tiles = [Tile(size, size, c.SingleRPUConfig(device=device), seed=i, device=where) for i in range(5)]
    xs = [x] * len(tiles)
    results = dict(enumerate(together.forward(tiles, xs) + together.backward(tiles, xs)))
    together.update(tiles, xs, xs, [0.01] * len(tiles))
    results |= {10 + i: tile.get_weights() for i, tile in enumerate(tiles)}
    return {f"array {i}": gpu.host(values) for i, values in results.items()}


def run_chain(io: c.IOParameters, where: str) -> dict[str, np.ndarray]:
    """Products of a tile whose sizes are no multiples of anything."""
    values = (0.5 * np.random.default_rng(0).standard_normal((20, 70))).astype(np.float32)
    config = c.SingleRPUConfig(device=c.SoftBoundsDevice(), forward=io, backward=io)
    tile, put = Tile(37, 70, config, seed=1, device=where), gpu.space(where).put
    results = {"y": tile.forward(put(values)), "dx": tile.backward(put(values[:, :37]))}
    tile.synchronize()
    return {name: gpu.host(result) for name, result in results.items()}


class Windows(gpu.GpuArray):
    """A strided view of an array on a GPU."""

    def __init__(self, array: gpu.GpuArray, shape: tuple[int, ...], strides: tuple[int, ...]) -> None:
        super().__init__(array.space, shape, array.dtype, array, array._address)
        where = array._address, *array.space.dlpack
        self._view = _core.gpu_view(array, *where, list(shape), "float32", list(strides))


def run_windows(where: str) -> dict[str, np.ndarray]:
    """Patches of two images with three channels of 9 x 8 pixels, and their sums."""
    shape, strides = (2, 4, 6, 3, 3, 2), (216, 16, 1, 72, 8, 2)
    images = np.random.default_rng(0).standard_normal((2, 3, 9, 8)).astype(np.float32)
    if where == "cpu":
        view: Any = np.lib.stride_tricks.as_strided(images, shape, [4 * n for n in strides])
        held: Any = images
    else:
        held = gpu.space(where).put(images)
        view = Windows(held, shape, strides)
    rows = copy_windows(view, 3)
    add_windows(rows, view, 3)
    return {"rows": gpu.host(rows), "sums": gpu.host(held)}


def compare() -> None:
    """Raise unless the GPU gives the bits of the CPU."""
    cases: dict[str, Callable[[str], dict[str, np.ndarray]]] = {"windows": run_windows}
    for name, device in DEVICES.items():
        cases[name] = partial(run, device, 96, 20)
        cases[f"tiles together of {name}"] = partial(run_together, device, 40, 20)
    for name, io in CHAINS.items():
        cases[name] = partial(run_chain, io)
    for name, case in cases.items():
        expected, found = case("cpu"), case("cuda")
        for what, values in expected.items():
            if not np.array_equal(values.view(np.uint32), found[what].view(np.uint32)):
                raise SystemExit(f"{what} of {name} differs between GPU and CPU")
    print("GPU and CPU give the same bits")


def seconds(tile: Tile, call: Callable[[], Any], n: int) -> float:
    """Of a call: the median of several runs of n calls in a row, warm."""
    call()
    tile.synchronize()
    took = []
    for _ in range(7):
        start = time.perf_counter()
        for _ in range(n):
            call()
        tile.synchronize()
        took.append((time.perf_counter() - start) / n)
    return sorted(took)[3]


def times() -> None:
    """Print times of large operations on the GPU and on the CPU."""
    print("\n".join(cuda.report()))
    for size, samples in ((512, 64), (1024, 128), (2048, 512)):
        rng = np.random.default_rng(0)
        x = (0.3 * rng.standard_normal((samples, size))).astype(np.float32)
        for name, device in DEVICES.items():
            took: dict[str, list[float]] = {"forward": [], "update": []}
            for where, n in (("cpu", 1), ("cuda", 20)):
                tile = Tile(size, size, c.SingleRPUConfig(device=device), seed=1, device=where)
                v = gpu.space(where).put(x)
                took["forward"].append(seconds(tile, partial(tile.forward, v), n))
                took["update"].append(seconds(tile, partial(tile.update, v, v, 1e-4), n))
            for what, (on_cpu, on_gpu) in took.items():
                times = f"{on_gpu * 1e3:8.3f} ms (CPU {on_cpu * 1e3:8.3f} ms)"
                print(f"{name:10} {what:8} {size} x {size}, {samples}: {times}")


def times_together() -> None:
    """Print times of 16 tiles by one call and by one call for each."""
    tiles = [Tile(256, 256, seed=i, device="cuda") for i in range(16)]
    v = gpu.space("cuda").put((0.3 * np.random.default_rng(0).standard_normal((32, 256))).astype(np.float32))
    vs, rates = [v] * 16, [1e-4] * 16

    def update_each() -> None:
        for tile in tiles:
            tile.update(v, v, 1e-4)

    calls: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
        "forward": (lambda: together.forward(tiles, vs), lambda: [tile.forward(v) for tile in tiles]),
        "update": (lambda: together.update(tiles, vs, vs, rates), update_each),
    }
    for what, (by_one, one_by_one) in calls.items():
        took = [1e3 * seconds(tiles[0], call, 20) for call in (by_one, one_by_one)]
        print(f"16 tiles   {what:8} 256 x 256, 32: {took[0]:8.3f} ms together, {took[1]:8.3f} ms one by one")


if __name__ == "__main__":
    if "--times" in sys.argv[1:]:
        times()
        times_together()
    else:
        compare()
