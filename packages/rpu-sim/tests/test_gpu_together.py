"""Several tiles on a GPU at once: the bits of the CPU, and the launches of one tile."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest
from exact import DEVICES, EMULATED, PLUGIN, assert_same_bits
from gpu_tiles import BATCH, IN, OUT, assert_same_state, config_of, needs_kernels, samples
from test_exact_mvm import IO
from unit_cells import cells

from rpu_sim import Tile, gpu, together
from rpu_sim.errors import DeviceError

pytestmark = needs_kernels

GRID = [(OUT, IN), (OUT, IN), (4, 70), (130, 5)]


def grid_samples(seed: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    rng = np.random.default_rng(seed)
    xs, ds = ([0.3 * rng.standard_normal((BATCH, shape[side])).astype(np.float32) for shape in GRID] for side in (1, 0))
    return xs, ds


@pytest.mark.parametrize("name", ["soft", "pow-reference", "constant-everything", "one-sided", "chopped"])
def test_tiles_together(device: str, name: str) -> None:
    config = config_of((DEVICES | cells())[name], forward=IO["everything"], backward=IO["bound"])
    tiles = [[Tile(*shape, config, seed=i, device=at) for i, shape in enumerate(GRID)] for at in ("cpu", device)]
    put = gpu.space(device).put
    for step in range(3):
        xs, ds = grid_samples(step)
        for call, values in ((together.forward, xs), (together.backward, ds)):
            for y, expected in zip(call(tiles[1], [put(v) for v in values]), call(tiles[0], values), strict=True):
                assert_same_bits(y.numpy(), expected, call.__name__)
        together.update(tiles[0], xs, ds, [0.05] * 4)
        together.update(tiles[1], [put(x) for x in xs], [put(d) for d in ds], [0.05] * 4)
        for one, other in zip(*tiles, strict=True):
            assert_same_state((one, other), f"update {step}")
    tiles[1][0].synchronize()


def test_tiles_on_two_devices(device: str) -> None:
    tiles = [Tile(OUT, IN, device=at) for at in ("cpu", device)]
    with pytest.raises(DeviceError, match=f"^the tiles are on cpu and {device}; move them to one device$"):
        together.forward(tiles, [samples()[0]] * 2)


def test_tiles_share_launches(device: str) -> None:
    """Six tiles have the launches of one."""
    if not EMULATED or device != "cuda:1":
        pytest.skip("only the emulated plugin counts launches")
    launches = ctypes.c_int64.in_dll(ctypes.CDLL(str(PLUGIN)), "rpu_emulated_launches")
    config = config_of(DEVICES["soft"], forward=IO["everything"])
    put, (x, d) = gpu.space(device).put, samples()
    x, d = put(x), put(d)
    needed = []
    for n in (1, 6):
        tiles = [Tile(OUT, IN, config, seed=i, device=device) for i in range(n)]
        for call in (
            lambda tiles: together.forward(tiles, [x] * len(tiles)),
            lambda tiles: together.backward(tiles, [d] * len(tiles)),
            lambda tiles: together.update(tiles, [x] * len(tiles), [d] * len(tiles), [0.1] * len(tiles)),
        ):
            before = launches.value
            call(tiles)
            needed.append(launches.value - before)
    assert needed[:3] == needed[3:]
    assert min(needed) > 3
