"""What arrays tiles on a GPU take, and what a user is told about others."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from exact import DEVICES
from gpu_tiles import IN, OUT, config_of, needs_kernels, pair, samples

from rpu_sim import Tile, gpu
from rpu_sim.errors import BackendError, DeviceError, DtypeError, NonFiniteError, ShapeError

pytestmark = needs_kernels


def test_arrays_elsewhere(device: str) -> None:
    tile = Tile(OUT, IN, device=device)
    put = gpu.space(device).put
    x, d = samples()
    with pytest.raises(DeviceError, match=rf"^x is on cpu but this tile is on {device}; move one of them$"):
        tile.forward(x)
    with pytest.raises(DeviceError, match=r"^d is on cpu"):
        tile.update(put(x), d, 0.1)
    with pytest.raises(DeviceError, match=r"^x cannot be read on the CPU"):
        Tile(OUT, IN).forward(put(x))
    if device == "cuda:1":
        with pytest.raises(DeviceError, match=r"^x is on cuda:0 but this tile is on cuda:1"):
            tile.forward(gpu.space("cuda:0").put(x))
    with pytest.raises(DeviceError, match=r"copy it to the host with its method numpy\(\)$"):
        np.asarray(tile.weights)
    with pytest.raises(DeviceError, match="only weights on the CPU can be held elsewhere"):
        tile.hold_weights_in(np.empty((OUT, IN), np.float32))


def test_shapes_and_types(device: str) -> None:
    tile = Tile(OUT, IN, device=device)
    put = gpu.space(device).put
    x, d = samples()
    with pytest.raises(ShapeError, match=r"x has shape \(6, 9\) but its last dimension must be 21"):
        tile.forward(put(d))
    with pytest.raises(ShapeError, match="give one d per x"):
        tile.update(put(x[:2]), put(d), 0.1)
    with pytest.raises(DtypeError, match="x has dtype int32 but tiles compute in float32"):
        tile.forward(gpu.space(device).empty((2, IN), np.int32))
    y = tile.forward(put(x.reshape(2, 3, IN)))
    assert y.shape == (2, 3, OUT)


def test_unknown_devices(device: str) -> None:
    with pytest.raises(BackendError, match="there is no GPU number 99"):
        Tile(OUT, IN).to("cuda:99")
    with pytest.raises(BackendError, match="'tpu' is no device"):
        Tile(OUT, IN, device="tpu")


def test_inputs_that_are_not_finite(device: str) -> None:
    """Nobody waits to find them: such samples do nothing, and the next `synchronize` tells."""
    tiles = pair(device, config_of(DEVICES["soft"]))
    put = gpu.space(device).put
    x, d = samples()
    broken = x.copy()
    broken[2, 1] = np.inf
    tiles[1].synchronize()
    y = tiles[1].forward(put(broken)).numpy()
    assert np.isnan(y[2]).all()
    assert np.isfinite(np.delete(y, 2, 0)).all()
    with pytest.raises(NonFiniteError, match="contained NaN or infinity"):
        tiles[1].synchronize()
    tiles[1].synchronize()
    tiles[1].update(put(broken), put(d), 0.05)
    assert np.isfinite(tiles[1].weights.numpy()).all()
    with pytest.raises(NonFiniteError):
        tiles[1].synchronize()


def test_memory_of_both_worlds_is_that_of_its_gpu(device: str) -> None:
    """CuPy and CUDA call it managed; DLPack has a type of its own for it."""
    array = SimpleNamespace(__dlpack__=None, __dlpack_device__=lambda: (13, 0), device="cuda:0")
    assert gpu.device_of(array) == "cuda:0"
    assert gpu._dlpack_device(array) == (2, 0)
