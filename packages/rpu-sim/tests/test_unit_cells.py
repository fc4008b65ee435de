"""Every kind of unit cell and compound: exact continuation, seeds, hidden parameters, bad input."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
from exact import assert_same_bits, batch
from unit_cells import NOISY, SHAPE, SOFT, assert_same_state, cells, plain, tile_of, train

from rpu_sim import Tile
from rpu_sim import config as c
from rpu_sim.errors import ConfigError, NonFiniteError, StateError

KINDS = sorted(cells())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("way", ["state", "load", "pickle", "deepcopy"])
def test_training_continues_bit_for_bit(kind: str, way: str) -> None:
    straight = train(tile_of(cells()[kind]), 0, 8)
    broken = train(tile_of(cells()[kind]), 0, 4)
    if way == "state":
        restored = Tile.from_state(broken.state_dict())
    elif way == "load":
        restored = tile_of(cells()[kind], seed=99)
        restored.load_state(broken.state_dict())
    else:
        restored = pickle.loads(pickle.dumps(broken)) if way == "pickle" else copy.deepcopy(broken)
    assert_same_state(train(restored, 4, 8), straight)
    assert np.isfinite(straight.weights).all()
    assert restored.pulse_counts == straight.pulse_counts
    assert sum(restored.pulse_counts) > 0


@pytest.mark.parametrize("kind", KINDS)
def test_seeds_name_chips(kind: str) -> None:
    assert_same_state(train(tile_of(cells()[kind]), 0, 3), train(tile_of(cells()[kind]), 0, 3))
    other = train(tile_of(cells()[kind], seed=6), 0, 3)
    assert (other.weights != train(tile_of(cells()[kind]), 0, 3).weights).any()


@pytest.mark.parametrize("kind", KINDS)
def test_weights_that_are_set_are_read(kind: str) -> None:
    """Within bounds, and whatever a reference or another device holds."""
    tile = train(tile_of(cells()[kind]), 0, 3)
    bounded = tile.hidden_parameters()
    room = min(float(values.min()) for name, values in bounded.items() if name.startswith("max_bound"))
    wanted = np.linspace(-0.1 * room, 0.1 * room, 35, dtype=np.float32).reshape(SHAPE)
    tile.set_weights(wanted)
    noise = 6 * 0.5 * 0.01 if kind.startswith("write-noise") else 0.0  # of 35 weights, six sigma
    np.testing.assert_allclose(tile.get_weights(), wanted, atol=2e-7 + noise)


@pytest.mark.parametrize("kind", KINDS)
def test_hidden_parameters_come_back(kind: str) -> None:
    """All hidden parameters of one tile, set on another, give the same weights and the same hidden parameters."""
    tile, twin = train(tile_of(cells()[kind]), 0, 5), tile_of(cells()[kind], seed=9)
    if hasattr(cells()[kind], "in_chop_prob"):  # the signs of the lines are no hidden parameters
        tile = tile_of(cells()[kind])
    hidden = tile.hidden_parameters()
    if kind.endswith("mixed-precision"):  # the weight of a single device is no hidden parameter
        twin.set_weights(tile.get_weights())
    twin.set_hidden_parameters(hidden)
    for name, values in twin.hidden_parameters().items():
        assert_same_bits(values, hidden[name], name)
    if kind != "write-noise-mixed-precision":
        assert_same_bits(twin.get_weights(), tile.get_weights(), "weights")


@pytest.mark.parametrize("kind", KINDS)
def test_bad_input_changes_nothing(kind: str) -> None:
    tile = train(tile_of(cells()[kind]), 0, 2)
    before = copy.deepcopy(tile)
    x, d = batch(SHAPE, 3, seed=0)
    d[2, 1] = np.nan
    for first in (0, 2):  # also as a single sample
        with pytest.raises(NonFiniteError, match="d contains NaN"):
            tile.update(x[first:], d[first:], 0.1)
    damaged = tile.state_dict()
    del damaged[next(name for name in damaged if "counters" in name or "sub." in name)]
    with pytest.raises(StateError, match="lacks"):
        tile.load_state(damaged)
    assert_same_state(tile, before)


@pytest.mark.parametrize("kind", KINDS)
def test_reconfigure_keeps_devices_and_buffers(kind: str) -> None:
    tile = train(tile_of(cells()[kind]), 0, 4)
    before = copy.deepcopy(tile)
    tile.reconfigure(backward=c.IOParameters(out_noise=0.0), device=tile.rpu_config.device.mutable_copy())
    one, two = tile.state_dict(), before.state_dict()
    assert one.keys() == two.keys()
    for name in one.keys() - {"meta"}:
        np.testing.assert_array_equal(one[name], two[name], err_msg=name)


UNMANAGED = c.UpdateParameters(update_management=False, update_bl_management=False, fixed_bl=False)
GREEDY = {"transfer_lr": 100.0, "transfer_update": UNMANAGED}  # its writes would be trains of 10^5 slots


@pytest.mark.parametrize(
    "cell",
    [
        c.TransferCompound([plain(), plain()], transfer_every=2, units_in_mbatch=False, **GREEDY),
        c.VectorUnitCell([plain(), c.TransferCompound([plain(), plain()], **GREEDY)]),
        c.ChoppedTransferCompound([plain(), plain()], auto_scale=True, fast_lr=1e4),
        c.TransferCompound([plain(), plain(dw_min=1e-6)], transfer_update=UNMANAGED),
    ],
    ids=["write", "nested", "scaled", "granularity"],
)
def test_a_step_that_cannot_be_done_changes_nothing(cell: Any) -> None:
    """Also where the first array could have been pulsed."""
    unmanaged = {"update_management": False, "update_bl_management": False, "fixed_bl": False}
    tile = tile_of(cell, **unmanaged if isinstance(cell, c.ChoppedTransferCompound) else {})
    before = copy.deepcopy(tile)
    x, d = batch(SHAPE, 5, seed=0)
    with pytest.raises(ConfigError, match="more than 8192 slots"):
        tile.update(x, d, 1.0)
    assert_same_state(tile, before)
    if not isinstance(cell, c.ChoppedTransferCompound):
        tile.update(x, d, 1e-4)
        before.update(x, d, 1e-4)
        assert sum(tile.pulse_counts) > 0
    assert_same_state(tile, before)


def test_a_change_that_one_array_refuses_leaves_all_as_they_were() -> None:
    tile = train(tile_of(c.TransferCompound([SOFT, SOFT], transfer_forward=NOISY)), 0, 3)
    twin = copy.deepcopy(tile)
    drifting = c.SoftBoundsDevice(drift=c.DriftParameter(nu=0.1))
    with pytest.raises(ConfigError, match="drift"):
        tile.reconfigure(device=c.TransferCompound([c.SoftBoundsDevice(dw_min=0.1), drifting], transfer_every=3))
    assert tile.granularity == twin.granularity
    assert_same_state(train(tile, 3, 5), train(twin, 3, 5))


def test_an_empty_batch_fires_nothing() -> None:
    for cell in cells().values():
        tile = tile_of(cell)
        tile.update(np.empty((0, 7), np.float32), np.empty((0, 5), np.float32), 0.1)
        assert sum(tile.pulse_counts) == 0


def test_without_pulses_a_cell_is_an_ideal_device() -> None:
    tile = tile_of(c.VectorUnitCell([SOFT, SOFT]), pulse_type=c.PulseType.NONE)
    tile.set_weights(np.zeros(SHAPE, np.float32))
    x, d = batch(SHAPE, 2, seed=0)
    tile.update(x, d, 1.0)
    np.testing.assert_allclose(tile.weights, -d.T @ x, rtol=1e-5, atol=1e-6)


def test_weights_of_cells_are_read_only() -> None:
    tile = tile_of(c.VectorUnitCell([SOFT, SOFT]))
    with pytest.raises(ValueError, match="read-only"):
        tile.weights[0, 0] = 1.0
