"""Tiles that move between the CPU and GPUs, and copies of tiles on a GPU: nothing is lost or moves by half."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
from exact import assert_same_bits
from gpu_tiles import IN, OUT, STORED, assert_same_state, config_of, needs_kernels, pair, samples
from test_exact_mvm import IO
from unit_cells import cells

from rpu_sim import Tile, gpu
from rpu_sim import config as c
from rpu_sim.errors import BackendError

pytestmark = needs_kernels


@pytest.mark.parametrize("name", cells())
def test_moves_change_nothing(device: str, name: str) -> None:
    """A tile that moves back and forth during training ends like one that stays."""
    config = config_of(cells()[name])
    tiles = Tile(OUT, IN, config, seed=3), Tile(OUT, IN, config, seed=3)
    put = gpu.space(device).put
    for step in range(4):
        x, d = samples(seed=step)
        tiles[0].update(x, d, 0.05)
        if step % 2 == 0:
            assert tiles[1].to(device) is tiles[1]
            tiles[1].update(put(x), put(d), 0.05)
        else:
            tiles[1].cpu().update(x, d, 0.05)
        assert_same_state(tiles, f"update {step}")
    assert type(tiles[1].weights) is np.ndarray


class FullMemory:
    """A GPU whose memory is full after some more arrays."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, arrays: int) -> None:
        self.left, empty = arrays, gpu.GpuSpace.empty

        def limited(space: gpu.GpuSpace, *shape_and_type: Any) -> gpu.GpuArray:
            if self.left == 0:
                raise BackendError("the GPU has no memory left; use smaller arrays or batches")
            self.left -= 1
            return empty(space, *shape_and_type)

        monkeypatch.setattr(gpu.GpuSpace, "empty", limited)


MOVED = {**STORED, **cells()}


@pytest.mark.parametrize("name", MOVED)
def test_a_move_happens_as_a_whole_or_not_at_all(device: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever array finds no memory, the tile stays where it is and goes on like one that never tried."""
    tiles = [Tile(OUT, IN, config_of(MOVED[name], forward=IO["everything"]), seed=3) for _ in range(2)]
    for tile in tiles:
        tile.update(*samples(), 0.05)
    weights = tiles[1].weights
    arrays = 0
    while True:
        with monkeypatch.context() as patch:
            memory = FullMemory(patch, arrays)
            try:
                tiles[1].to(device)
                break
            except BackendError:
                assert memory.left == 0
        assert tiles[1].device == "cpu"
        assert tiles[1].weights is weights
        assert_same_state((tiles[0], tiles[1]), f"a move that ends at array {arrays}")
        for tile in tiles:
            tile.update(*samples(seed=arrays + 1), 0.05)
            tile.post_update_step()
        assert_same_bits(tiles[1].forward(samples()[0]), tiles[0].forward(samples()[0]), "output")
        arrays += 1
    assert arrays > 2
    assert_same_state((tiles[0], tiles[1]), "the move")
    if device == "cuda:1":  # from one GPU to the other, which is full at once
        with monkeypatch.context() as patch:
            FullMemory(patch, 1)
            with pytest.raises(BackendError):
                tiles[1].to("cuda:0")
        assert tiles[1].device == device
        assert_same_state((tiles[0], tiles[1]), "the second move")


def test_copies_and_checkpoints(device: str) -> None:
    tile = Tile(OUT, IN, config_of(cells()["dynamic"]), seed=3, device=device)
    put = gpu.space(device).put
    x, d = samples()
    tile.update(put(x), put(d), 0.05)
    restored = Tile(OUT, IN, tile.rpu_config, seed=8, device=device)
    restored.load_state(tile.state_dict())
    others = [
        copy.deepcopy(tile),
        pickle.loads(pickle.dumps(tile)),
        Tile.from_state(tile.state_dict(), device=device),
        restored,
    ]
    tile.update(put(x), put(d), 0.05)
    for other in others:
        assert other.device == device
        other.update(put(x), put(d), 0.05)
        assert_same_state((tile, other), "a copy")
    on_host = Tile.from_state(tile.state_dict())
    assert on_host.device == "cpu"
    assert_same_state((on_host, tile), "a move by state")


def test_weights_stay_in_their_array(device: str) -> None:
    """What is done on the host for a while comes back to the array that others hold."""
    tiles = pair(device, config_of(cells()["vector-all"]))
    weights = tiles[1].weights
    for tile in tiles:
        tile.set_weights(np.full((OUT, IN), 0.1, np.float32))
        tile.reconfigure(update=c.UpdateParameters(desired_bl=5))
    assert tiles[1].weights is weights
    assert_same_bits(weights.numpy(), tiles[0].weights, "weights")
    assert_same_state(tiles, "reconfigure")
