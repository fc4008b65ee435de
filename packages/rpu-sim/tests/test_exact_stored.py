"""Write noise and drift equal the NumPy oracle bit for bit, on every level, with any number of threads, at any size."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import pytest
from exact import SPREAD, UPDATES, assert_same_bits, batch, shapes

from rpu_sim import Tile, derive_seed
from rpu_sim import config as c
from rpu_sim.reference import cells, drift, population, update
from rpu_sim.reference.devices import bounded
from rpu_sim.reference.reference_devices import shifted
from rpu_sim.reference.write_noise import written

KEY = derive_seed(5)
NOISY = {
    "linear": c.LinearStepDevice(gamma_up=0.4, write_noise_std=20.0, **SPREAD),
    "soft-additive": c.SoftBoundsDevice(mult_noise=False, write_noise_std=3.0, w_max=0.1),
    "exp": c.ExpStepDevice(write_noise_std=5.0, apply_write_noise_on_set=False),
    "soft-reference": c.SoftBoundsReferenceDevice(reference_mean=0.2, reference_std=0.1, write_noise_std=9.0),
    "pow": c.PowStepDevice(write_noise_std=5.0),
    "piecewise": c.PiecewiseStepDevice(piecewise_up=[1.0, 0.5], piecewise_down=[0.5, 1.0], write_noise_std=5.0),
}
ADDITIVE = c.SoftBoundsDevice(mult_noise=False, write_noise_std=5.0)
DRIFTS = {
    "plain": c.DriftParameter(nu=0.1, t_0=2.0),
    "spread": c.DriftParameter(nu=0.1, nu_dtod=0.5, nu_std=0.3, w_noise_std=0.01),
    "conductance": c.DriftParameter(nu=0.05, nu_k=0.01, g_offset=0.5, w_offset=-0.2, wg_ratio=0.7, log_g0=0.3),
}


def broadcast_cells(device: c.PulsedDevice, shape: tuple[int, int]) -> dict[str, np.ndarray]:
    fields = population.populate(device, *shape, KEY)
    return shifted({name: np.broadcast_to(v, shape).astype(np.float32) for name, v in fields.items()})


def check_shown(tile: Tile, stored: np.ndarray, visible: np.ndarray, what: str) -> None:
    assert_same_bits(tile.hidden_parameters()["persistent_weights"], stored, f"stored weights {what}")
    assert_same_bits(tile.get_weights(), visible, f"visible weights {what}")


Shown = tuple[np.ndarray, np.ndarray]  # stored and visible weights


@functools.cache
def oracle(name: str, shape: tuple[int, int]) -> dict[str, Shown]:
    """The weights after each call of `test_write_noise`; the same for every level and thread count."""
    device, cell = NOISY[name], broadcast_cells(NOISY[name], shape)
    stored = bounded(cells.initial_weights(*shape, -0.1, 0.1, KEY), cell)
    on_set = device.apply_write_noise_on_set
    step = int(on_set)
    visible = written(device, stored, 0, KEY) if on_set else stored.copy()
    found = {"at first": (stored, visible.copy())}

    x, d = batch(shape, 3, seed=0)
    fields = population.populate(device, *shape, KEY)
    stored, *_ = update.update(stored, fields, device, UPDATES["default"], x, d, 0.01, key=KEY, step=0, visible=visible)
    found["after an update"] = stored, visible
    stored = cells.decay(stored, cell, 0.5)
    found["after decay"] = stored, written(device, stored, step, KEY)
    stored = cells.diffuse(stored, cell, step + 1, KEY)
    found["after diffusion"] = stored, written(device, stored, step + 1, KEY)
    stored = cells.reset(stored, cell, 0, shape[1], 0.5, device.reset_std, step + 2, KEY)
    found["after a reset"] = stored, written(device, stored, step + 2, KEY)
    return found


@pytest.mark.parametrize("name", NOISY)
def test_write_noise(isa: str, threads: int, name: str) -> None:
    device = NOISY[name]
    for shape in shapes(isa)[1:]:
        tile, expected = Tile(*shape, c.SingleRPUConfig(device=device), seed=5), oracle(name, shape)
        assert tile.steps["lifecycle"] == int(device.apply_write_noise_on_set)
        calls = {
            "at first": lambda: None,
            "after an update": lambda: tile.update(*batch(shape, 3, seed=0), 0.01),  # noqa: B023  (called in the loop)
            "after decay": lambda: tile.decay(0.5),  # noqa: B023
            "after diffusion": tile.diffuse,
            "after a reset": lambda: tile.reset(prob=0.5),  # noqa: B023
        }
        for when, call in calls.items():
            call()
            check_shown(tile, *expected[when], f"{when} {shape}")


@functools.cache
def oracle_of_call(shape: tuple[int, int], name: str, samples: int) -> Shown:
    tile = Tile(*shape, c.SingleRPUConfig(device=ADDITIVE, update=UPDATES[name]), seed=5)
    fields = population.populate(ADDITIVE, *shape, KEY)
    stored, visible = tile.hidden_parameters()["persistent_weights"], tile.get_weights()
    x, d = batch(shape, samples, seed=0)
    stored, *_ = update.update(stored, fields, ADDITIVE, UPDATES[name], x, d, 0.01, key=KEY, step=0, visible=visible)
    return stored, visible


def test_write_noise_of_several_chunks_and_of_implicit_pulses(isa: str) -> None:
    shape = (3, 10)
    for name, samples in (("very-long", 4), ("implicit", 5)):
        tile = Tile(*shape, c.SingleRPUConfig(device=ADDITIVE, update=UPDATES[name]), seed=5)
        tile.update(*batch(shape, samples, seed=0), 0.01)
        check_shown(tile, *oracle_of_call(shape, name, samples), name)


@pytest.mark.parametrize("name", DRIFTS)
def test_drift(isa: str, threads: int, name: str) -> None:
    p = DRIFTS[name]
    device = c.ConstantStepDevice(drift=p, **SPREAD)
    for shape in shapes(isa)[1:]:
        tile, cell = Tile(*shape, c.SingleRPUConfig(device=device), seed=5), broadcast_cells(device, shape)
        nu = drift.exponents(p, *shape, KEY)
        assert_same_bits(tile.hidden_parameters()["drift_nu"], np.broadcast_to(nu, shape).copy(), f"exponents {shape}")
        w = tile.get_weights()
        blank = np.zeros(shape, np.float32)
        memory = drift.Memory(blank - 1, blank, blank)
        for step, delta_t in enumerate((20.0, 3.5)):
            tile.drift(delta_t)
            w, memory = drift.drift(p, w, memory, nu, cell, delta_t, step, KEY)
            assert_same_bits(tile.weights, w, f"weights after drift {step} {shape}")
        tile.weights[:, 0] += np.float32(0.25)
        w = w.copy()
        w[:, 0] += np.float32(0.25)
        tile.decay()
        decayed = cells.decay(w, cell, 1.0)
        memory = drift.follow(p, w, decayed, memory, nu)
        tile.drift(7.0)
        w, memory = drift.drift(p, decayed, memory, nu, cell, 7.0, 3, KEY)
        state = tile.state_dict()
        assert_same_bits(tile.weights, w, f"weights after decay {shape}")
        for field, expected in dataclasses.asdict(memory).items():
            assert_same_bits(state[f"cell.drift_{field}"], expected, f"drift_{field} {shape}")
        assert (state["cell.drift_age"][:, 0] == 0).all()


@pytest.mark.parametrize("device", [c.IdealDevice, c.FloatingPointDevice])
def test_drift_without_pulses(isa: str, device: type) -> None:
    p = c.SimpleDriftParameter(nu=0.1, t_0=2.0)
    config = c.FloatingPointRPUConfig if device is c.FloatingPointDevice else c.SingleRPUConfig
    tile = Tile(5, 33, config(device=device(drift=p)), seed=5)
    w, blank = tile.get_weights(), np.zeros((5, 33), np.float32)
    unbounded = {"min_bound": blank - np.inf, "max_bound": blank + np.inf}
    tile.drift(20.0)
    full = c.DriftParameter(nu=0.1, t_0=2.0)
    expected, _ = drift.drift(
        full, w, drift.Memory(blank - 1, blank, blank), blank + np.float32(0.1), unbounded, 20.0, 0, KEY
    )
    assert_same_bits(tile.weights, expected, "weights")


def test_drift_acts_on_stored_weights(isa: str) -> None:
    device = c.SoftBoundsDevice(write_noise_std=10.0, drift=c.DriftParameter(nu=0.1))
    tile, cell = Tile(6, 70, c.SingleRPUConfig(device=device), seed=5), broadcast_cells(device, (6, 70))
    stored, blank = tile.hidden_parameters()["persistent_weights"], np.zeros((6, 70), np.float32)
    memory, nu = drift.Memory(blank - 1, blank, blank), np.full((1, 1), 0.1, np.float32)
    for call in range(2):  # the noise that is shown does not count as a write
        tile.drift(50.0)
        stored, memory = drift.drift(device.drift, stored, memory, nu, cell, 50.0, call + 1, KEY)
        check_shown(tile, stored, written(device, stored, call + 1, KEY), f"after drift {call}")
    assert (memory.age == 100).all()
