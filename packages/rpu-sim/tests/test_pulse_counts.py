"""Counts of pulses: of every crosspoint, and the closed forms of the deterministic pulse types."""

from __future__ import annotations

import numpy as np
import pytest

from rpu_sim import Tile
from rpu_sim import config as c
from rpu_sim.errors import ConfigError, StateError

OUT, IN = 7, 19


def counting(pulse_type: c.PulseType = c.PulseType.STOCHASTIC_COMPRESSED, **update: object) -> c.SingleRPUConfig:
    device = c.ConstantStepDevice(count_pulses=True, w_max=50.0, w_min=-50.0)
    return c.SingleRPUConfig(device=device, update=c.UpdateParameters(pulse_type=pulse_type, **update))


def batch(samples: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x, d = rng.standard_normal((samples, IN)), 0.3 * rng.standard_normal((samples, OUT))
    return x.astype(np.float32), d.astype(np.float32)


def test_crosspoints_add_up_to_the_totals() -> None:
    tile = Tile(OUT, IN, counting(), seed=3)
    for call in range(3):
        tile.update(*batch(40, call), 0.02)
    counts = tile.cell_pulse_counts()
    assert tile.pulse_counts == (counts["up"].sum(), counts["down"].sum())
    assert counts["up"].dtype == np.int64
    assert min(tile.pulse_counts) > 0


def test_counting_changes_nothing_else() -> None:
    config = counting()
    tiles = [Tile(OUT, IN, config, seed=3)]
    config.device.count_pulses = False
    tiles.append(Tile(OUT, IN, config, seed=3))
    for tile in tiles:
        tile.update(*batch(40), 0.02)
    assert (tiles[0].weights == tiles[1].weights).all()
    with pytest.raises(ConfigError, match="count_pulses=True"):
        tiles[1].cell_pulse_counts()


def test_each_sample_pulses_a_cell_in_one_direction() -> None:
    """Up where the signs of x and d differ, and at most desired_bl times."""
    tile = Tile(OUT, IN, counting(desired_bl=5), seed=3)
    x, d = batch(1)
    tile.update(x, d, 10.0)
    counts = tile.cell_pulse_counts()
    rises = np.signbit(d[0])[:, None] ^ np.signbit(x[0])[None, :]
    assert (counts["up"][~rises] == 0).all()
    assert (counts["down"][rises] == 0).all()
    assert max(counts["up"].max(), counts["down"].max()) == 5


def test_counts_are_part_of_the_state() -> None:
    tile = Tile(OUT, IN, counting(), seed=3)
    tile.update(*batch(4), 0.02)
    twin = Tile.from_state(tile.state_dict())
    for t in (tile, twin):
        t.update(*batch(4, 1), 0.02)
    for direction in ("up", "down"):
        assert (tile.cell_pulse_counts()[direction] == twin.cell_pulse_counts()[direction]).all()
    damaged = tile.state_dict() | {"pulses.cell": np.zeros((2, OUT, IN), np.float32)}
    with pytest.raises(StateError, match=r"pulses\.cell"):
        tile.load_state(damaged)


def test_counting_may_begin_later() -> None:
    config = counting()
    config.device.count_pulses = False
    tile = Tile(OUT, IN, config, seed=3)
    tile.update(*batch(4), 0.02)
    before = tile.pulse_counts
    tile.reconfigure(device=counting().device)
    tile.update(*batch(4, 1), 0.02)
    assert tile.cell_pulse_counts()["up"].sum() == tile.pulse_counts.up - before.up > 0
    tile.reconfigure(update=c.UpdateParameters(desired_bl=7))
    assert tile.cell_pulse_counts()["up"].sum() == tile.pulse_counts.up - before.up


@pytest.mark.parametrize("managed", [True, False])
@pytest.mark.parametrize("lr", [0.002, -0.002, 0.05])
def test_mean_count(managed: bool, lr: float) -> None:
    """rint(c_x c_d / BL) pulses with c = rint(BL p), computed in float64; lines near a tie are left out."""
    parameters = {"update_management": managed, "update_bl_management": managed, "desired_bl": 21}
    tile = Tile(OUT, IN, counting(c.PulseType.MEAN_COUNT, **parameters), seed=3)
    x, d = batch(1)
    tile.update(x, d, lr)

    x64, d64 = x[0].astype(float), d[0].astype(float)
    x_max, d_max = np.abs(x64).max(), np.abs(d64).max()
    k = abs(lr) * x_max * d_max / tile.granularity
    length = min(np.ceil(k), 21) if managed else 21
    if managed and k > length:  # the largest x always fires
        px, pd = np.abs(x64) / x_max, np.abs(d64) * k / (length * d_max)
    else:
        scale, balance = np.sqrt(abs(lr) / (tile.granularity * length)), np.sqrt(d_max / x_max) if managed else 1.0
        px, pd = np.abs(x64) * scale * balance, np.abs(d64) * scale / balance
    c_x, c_d = (np.rint(np.minimum(p, 1) * length) for p in (px, pd))
    expected = np.rint(c_x[None, :] * c_d[:, None] / length)
    tied = [np.abs(p * length % 1 - 0.5) < 1e-4 for p in (px, pd)]
    certain = ~(tied[0][None, :] | tied[1][:, None])
    counts = tile.cell_pulse_counts()
    rises = (np.signbit(d[0])[:, None] ^ np.signbit(x[0])[None, :]) ^ (lr < 0)
    assert certain.mean() > 0.9
    assert (np.where(rises, counts["up"], counts["down"])[certain] == expected[certain]).all()
    assert (np.where(rises, counts["down"], counts["up"]) == 0).all()
