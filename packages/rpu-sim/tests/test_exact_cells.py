"""Population, initial weights and lifecycle equal the NumPy oracle bit for bit."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from exact import DEVICES, assert_same_bits, shapes

from rpu_sim import Tile, derive_seed, reference
from rpu_sim import config as c
from rpu_sim.reference import cells, population
from rpu_sim.reference.reference_devices import shifted


@functools.cache
def oracle_population(shape: tuple[int, int], name: str) -> dict[str, np.ndarray]:
    return population.populate(DEVICES[name], *shape, derive_seed(11))


def tile_and_cells(shape: tuple[int, int], name: str) -> tuple[Tile, dict[str, np.ndarray]]:
    tile = Tile(*shape, c.SingleRPUConfig(device=DEVICES[name]), seed=11)
    return tile, oracle_population(shape, name)


@pytest.mark.parametrize("name", DEVICES)
def test_population(isa: str, threads: int, name: str) -> None:
    for shape in shapes(isa):
        tile, fields = tile_and_cells(shape, name)
        state = tile.state_dict()
        assert {k for k in state if k.startswith("cell.")} == {f"cell.{k}" for k in fields}
        for field, expected in fields.items():
            assert_same_bits(state[f"cell.{field}"], expected.astype(np.float32), f"{field} {shape}")
        initial = cells.initial_weights(*shape, -0.1, 0.1, derive_seed(11))
        broadcast = shifted({k: np.broadcast_to(v, shape) for k, v in fields.items()})
        assert_same_bits(tile.weights, reference.devices.bounded(initial, broadcast), f"initial weights {shape}")


def test_lifecycle(isa: str, threads: int) -> None:
    key = derive_seed(11)
    for shape in shapes(isa):
        tile, fields = tile_and_cells(shape, "constant-everything")
        cell = {k: np.broadcast_to(v, shape) for k, v in fields.items()}
        w = tile.get_weights()
        tile.decay(0.5)
        w = cells.decay(w, cell, 0.5)
        assert_same_bits(tile.weights, w, f"decay {shape}")
        tile.diffuse()
        w = cells.diffuse(w, cell, 1, key)
        assert_same_bits(tile.weights, w, f"diffuse {shape}")
        tile.reset(start_column=shape[1] - 1, n_columns=2, prob=0.5)
        w = cells.reset(w, cell, shape[1] - 1, 2, 0.5, 0.01, 2, key)
        assert_same_bits(tile.weights, w, f"reset {shape}")
        tile.post_update_step()
        w = cells.decay(cells.diffuse(w, cell, 3, key), cell, 1.0)
        assert_same_bits(tile.weights, w, f"post update step {shape}")
