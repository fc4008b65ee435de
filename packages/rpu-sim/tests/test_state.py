"""Saving, loading, copying: everything continues bit for bit, and damaged states never reach a tile."""

from __future__ import annotations

import copy
import pickle
import re

import numpy as np
import pytest
from exact import DEVICES, assert_same_bits, batch

from rpu_sim import Tile
from rpu_sim import config as c
from rpu_sim.errors import ConfigError, ShapeError, StateError

SHAPE = (20, 33)
IO = c.IOParameters(out_noise_std=0.2, noise_management=c.NoiseManagementType.AVERAGE_ABS_MAX)
DRIFT = c.DriftParameter(nu=0.1, nu_dtod=0.2, nu_std=0.1, w_noise_std=0.01)
SLOW = {"diffusion": 0.01, "lifetime": 50.0}
ALL = {
    **DEVICES,
    "ideal": c.IdealDevice(diffusion=0.1, lifetime=5.0, drift=c.SimpleDriftParameter(nu=0.05)),
    "noisy": c.SoftBoundsReferenceDevice(write_noise_std=9.0, reference_std=0.1, **SLOW),
    "drifting": c.LinearStepDevice(drift=DRIFT, **SLOW),
    "noisy-drifting": c.ExpStepDevice(write_noise_std=9.0, drift=DRIFT, **SLOW),
}


def make(name: str) -> Tile:
    return Tile(*SHAPE, c.SingleRPUConfig(device=ALL[name], forward=IO, backward=IO), seed=3)


def train(tile: Tile, first: int, last: int) -> list[np.ndarray]:
    seen = []
    for call in range(first, last):
        x, d = batch(SHAPE, 4, seed=call)
        seen += [tile.forward(x), tile.backward(d)]
        tile.update(x, d, 0.05)
        tile.post_update_step()
        tile.drift(10.0)
        if call % 3 == 0:
            tile.reset(start_column=call, n_columns=2, prob=0.5)
    return [*seen, tile.get_weights()]


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("way", ["state", "load", "pickle", "deepcopy"])
def test_training_continues_bit_for_bit(name: str, way: str) -> None:
    """Training 6 steps equals training 3, saving, restoring and training 3, noise included."""
    straight, broken = make(name), make(name)
    expected = train(straight, 0, 6)
    train(broken, 0, 3)
    if way == "state":
        restored = Tile.from_state(broken.state_dict())
    elif way == "load":
        restored = Tile(*SHAPE, broken.rpu_config, seed=99)
        restored.load_state(broken.state_dict())
    elif way == "pickle":
        restored = pickle.loads(pickle.dumps(broken))
    else:
        restored = copy.deepcopy(broken)
    for actual, wanted in zip(train(restored, 3, 6), expected[6:], strict=True):
        assert_same_bits(actual, wanted, f"{name} after {way}")
    assert restored.steps == straight.steps
    assert restored.pulse_counts == straight.pulse_counts


def test_state_survives_a_file(tmp_path: object) -> None:
    tile = make("soft")
    train(tile, 0, 2)
    path = f"{tmp_path}/tile.npz"
    np.savez(path, **tile.state_dict())
    with np.load(path, allow_pickle=False) as stored:
        restored = Tile.from_state(dict(stored))
    assert_same_bits(train(restored, 2, 3)[-1], train(tile, 2, 3)[-1], "weights")


def test_state_is_a_snapshot() -> None:
    tile = make("constant")
    state = tile.state_dict()
    before = state["weight"].copy()
    train(tile, 0, 1)
    assert_same_bits(state["weight"], before, "saved weights")


def test_load_keeps_the_array() -> None:
    """Loading writes into the array that others may hold."""
    tile, other = make("constant"), make("constant")
    held = tile.weights
    train(other, 0, 2)
    tile.load_state(other.state_dict())
    assert held is tile.weights
    assert_same_bits(held, other.weights, "weights")


def damaged(state: dict[str, np.ndarray]) -> dict[str, dict[str, np.ndarray]]:
    def edited(old: bytes, new: bytes) -> np.ndarray:
        return np.frombuffer(bytes(state["meta"]).replace(old, new), np.uint8)

    meta = state["meta"]
    nan = state["weight"].copy()
    nan[1, 1] = np.nan
    head = b'{"format": "rpu_sim.tile", "version": 1, '
    return {
        "missing weight": {k: v for k, v in state.items() if k != "weight"},
        "missing cell": {k: v for k, v in state.items() if k != "cell.max_bound"},
        "missing buffer": {k: v for k, v in state.items() if k != "buffer.forward_out_noise"},
        "missing meta": {k: v for k, v in state.items() if k != "meta"},
        "unknown array": {**state, "cell.slope_sideways": state["weight"]},
        "truncated meta": {**state, "meta": meta[: len(meta) // 2]},
        "foreign meta": {**state, "meta": np.frombuffer(b'{"format": "other"}', np.uint8)},
        "new version": {**state, "meta": edited(b'"version": 1', b'"version": 9')},
        "unknown field": {**state, "meta": edited(b"out_noise_std", b"out_noise_xyz")},
        "nan": {**state, "weight": nan},
        "wrong shape": {**state, "weight": state["weight"][:, :-1]},
        "wrong cell shape": {**state, "cell.dwmin_up": state["cell.dwmin_up"][:-1]},
        "wrong dtype": {**state, "weight": state["weight"].astype(np.float64)},
        "crossed bounds": {**state, "cell.min_bound": state["cell.max_bound"] + 1},
        "scalar seed": {**state, "seed": np.zeros(2, np.int64)},
        "float step": {**state, "step.update": np.array(1.5)},
        "pulses": {**state, "pulses": np.zeros(3, np.int64)},
        "negative step": {**state, "step.forward": np.array(-1, np.int64)},
        "step without a next one": {**state, "step.update": np.array(2**63 - 1, np.int64)},
        "negative pulses": {**state, "pulses": np.array([3, -3], np.int64)},
        "configuration as a list": {**state, "meta": np.frombuffer(head + b'"config": []}', np.uint8)},
        "name that is a number": {**state, 3: state["weight"]},
        "list": list(state),
        "nothing": None,
    }


@pytest.mark.parametrize("what", sorted(damaged(make("constant").state_dict())))
def test_damaged_states_are_refused(what: str) -> None:
    tile = make("constant")
    train(tile, 0, 1)
    before = tile.state_dict()
    bad = damaged(make("constant").state_dict())[what]
    with pytest.raises(StateError) as error:
        tile.load_state(bad)
    assert str(error.value).count("\n") == 0
    with pytest.raises(StateError, match=f"^{re.escape(str(error.value))}$"):
        tile.check_state(bad)
    for name, value in tile.state_dict().items():
        np.testing.assert_array_equal(value, before[name])
    if what != "wrong shape":
        with pytest.raises(StateError):
            Tile.from_state(bad)


def test_a_check_of_a_state_changes_nothing() -> None:
    tile, other = make("constant"), make("constant")
    train(other, 0, 1)
    before = tile.state_dict()
    tile.check_state(other.state_dict())
    for name, value in tile.state_dict().items():
        np.testing.assert_array_equal(value, before[name])


def test_damaged_counters_of_cells_are_refused() -> None:
    cell = c.TransferCompound(unit_cell_devices=[c.SoftBoundsDevice(), c.ConstantStepDevice()])
    tile = Tile(*SHAPE, c.UnitCellRPUConfig(device=cell))
    before = tile.state_dict()
    counters = [name for name, value in before.items() if value.dtype == np.int64 and name != "seed"]
    assert {"graph.counters", "transfer.0.counters", "sub.1.pulses"} <= set(counters)
    for name in counters:
        with pytest.raises(StateError, match=name):
            tile.load_state({**before, name: np.asarray(before[name] - 1)})
    for name, value in tile.state_dict().items():
        np.testing.assert_array_equal(value, before[name])


def test_state_of_another_device_is_refused() -> None:
    with pytest.raises(StateError, match="slope"):
        make("constant").load_state(make("linear").state_dict())


def test_hidden_parameters_round_trip() -> None:
    tile = make("linear")
    hidden = tile.hidden_parameters()
    assert list(hidden)[:4] == ["max_bound", "min_bound", "dwmin_up", "dwmin_down"]
    assert list(hidden)[-2:] == ["slope_up", "slope_down"]
    hidden["dwmin_up"] *= 2
    tile.set_hidden_parameters(hidden)
    assert_same_bits(tile.hidden_parameters()["dwmin_up"], hidden["dwmin_up"], "dwmin_up")
    tile.set_hidden_parameters({"max_bound": np.full(SHAPE, 0.01, np.float32)})
    assert tile.weights.max() <= np.float32(0.01)
    assert tile.granularity == 0.001  # nominal values never follow the drawn ones


def test_hidden_parameters_are_checked() -> None:
    tile = make("linear")
    before = tile.state_dict()
    with pytest.raises(StateError, match="slope_up"):
        tile.set_hidden_parameters({"slope": np.zeros(SHAPE, np.float32)})
    with pytest.raises(ShapeError):
        tile.set_hidden_parameters({"slope_up": np.zeros(3, np.float32)})
    with pytest.raises(StateError, match="exceeds"):
        tile.set_hidden_parameters({"min_bound": np.full(SHAPE, 5.0, np.float32)})
    for name, value in tile.state_dict().items():
        np.testing.assert_array_equal(value, before[name])


def test_reconfigure_keeps_devices_and_noise() -> None:
    tile = make("soft")
    before = tile.state_dict()
    tile.reconfigure(forward=c.IOParameters(is_perfect=True))
    x, _ = batch(SHAPE, 3, seed=0)
    np.testing.assert_allclose(tile.forward(x), x @ tile.weights.T, rtol=1e-5, atol=1e-6)
    tile.reconfigure(forward=IO)
    for name in ("weight", "cell.max_bound", "buffer.forward_out_noise", "buffer.backward_out_noise"):
        assert_same_bits(tile.state_dict()[name], before[name], name)
    with pytest.raises(ConfigError, match="device class"):
        tile.reconfigure(device=c.ConstantStepDevice())
    with pytest.raises(ConfigError, match="no field"):
        tile.reconfigure(foward=IO)
    with pytest.raises(ConfigError, match="frozen"):
        tile.rpu_config.forward.is_perfect = True


def test_seeds_name_chips() -> None:
    same, again, other = Tile(5, 70, seed=1), Tile(5, 70, seed=1), Tile(5, 70, seed=2)
    for name, value in same.state_dict().items():
        np.testing.assert_array_equal(value, again.state_dict()[name])
    for name in ("weight", "cell.max_bound", "cell.dwmin_up"):
        assert (same.state_dict()[name] != other.state_dict()[name]).mean() > 0.99
    device = c.ConstantStepDevice(construction_seed=5)
    one, two = (Tile(5, 70, c.SingleRPUConfig(device=device), seed=s) for s in (1, 2))
    assert_same_bits(one.state_dict()["cell.max_bound"], two.state_dict()["cell.max_bound"], "devices of one seed")
    assert (one.weights != two.weights).any()


class Frontend:
    """Stands for the tile class of a frontend."""


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda tile: pickle.loads(pickle.dumps(tile))])
def test_copies_keep_the_classes_of_a_frontend(copied: object) -> None:
    tile = Tile(2, 3, c.SingleRPUConfig(tile_class=Frontend, tile_array_class=Frontend))
    twin = copied(tile)  # type: ignore[operator]
    assert twin.rpu_config.tile_class is Frontend
    assert twin.rpu_config.tile_array_class is Frontend
