"""Every preset of a training tile makes one that trains."""

from __future__ import annotations

import numpy as np
import pytest

import aihw_presets
from rpu_sim import Tile
from rpu_sim.config import RPUConfigBase, SingleRPUConfig, UnitCell, from_dict, to_dict

KINDS = ("FloatingPointRPUConfig", "SingleRPUConfig", "UnitCellRPUConfig", "DigitalRankUpdateRPUConfig")
TRAINING = [name for name in aihw_presets.names(kind="config") if aihw_presets.load(name)["class"] in KINDS]


def check_tile(config: RPUConfigBase) -> None:
    """Some updates move the weights and leave them finite; the state can be saved and taken up again."""
    tile = Tile(6, 9, config, seed=1)
    rng = np.random.default_rng(0)
    before = tile.get_weights()
    for _ in range(3):
        x, d = rng.standard_normal((4, 9)).astype(np.float32), rng.standard_normal((4, 6)).astype(np.float32)
        tile.update(x, d, 0.1)
        tile.post_update_step()
    assert np.isfinite(tile.weights).all()
    if not isinstance(config.device, UnitCell):  # a slow array may have got nothing yet
        assert (tile.weights != before).any()
    restored = Tile.from_state(tile.state_dict())
    np.testing.assert_array_equal(restored.weights, tile.weights)


@pytest.mark.parametrize("name", aihw_presets.names(kind="device"))
def test_devices(name: str) -> None:
    check_tile(SingleRPUConfig(device=from_dict(aihw_presets.load(name))))


@pytest.mark.parametrize("name", TRAINING)
def test_configurations(name: str) -> None:
    config = from_dict(aihw_presets.load(name))
    assert from_dict(to_dict(config)) == config
    check_tile(config)


def test_there_are_as_many_as_the_presets_say() -> None:
    assert len(TRAINING) >= 52
