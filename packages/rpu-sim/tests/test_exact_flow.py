"""Updates without pulses equal the NumPy oracle bit for bit, on every level, with any number of threads."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from exact import DEVICES, assert_same_bits, batch, shapes

from rpu_sim import Tile, reference
from rpu_sim import config as c

FLOW = c.PulseType.MEAN_FIELD
MANAGEMENTS = {
    "default": c.UpdateParameters(pulse_type=FLOW),
    "no-management": c.UpdateParameters(
        pulse_type=FLOW, update_bl_management=False, update_management=False, desired_bl=5
    ),
    "growing": c.UpdateParameters(
        pulse_type=FLOW, update_bl_management=False, update_management=False, fixed_bl=False, desired_bl=2
    ),
    "rounded": c.UpdateParameters(pulse_type=FLOW, update_bl_management=False, res=20.0, um_grad_scale=0.5),
    "rounded-by-chance": c.UpdateParameters(pulse_type=FLOW, res=0.1, sto_round=True),
}
UPDATES = {
    **MANAGEMENTS,
    "many-slots": c.UpdateParameters(pulse_type=FLOW, desired_bl=1000),
    "exact": c.UpdateParameters(pulse_type=c.PulseType.NONE_WITH_DEVICE),
}


def made(shape: tuple[int, int], device: str, update: str) -> Tile:
    return Tile(*shape, c.SingleRPUConfig(device=DEVICES[device], update=UPDATES[update]), seed=5)


@functools.cache
def oracle(shape: tuple[int, int], device: str, update: str, lr: float, samples: int) -> list[np.ndarray]:
    """Weights after each of two update calls; the same for every level and thread count."""
    tile = made(shape, device, update)
    cells = {name.removeprefix("cell."): v for name, v in tile.state_dict().items() if name.startswith("cell.")}
    weights, results = tile.get_weights(), []
    for call in range(2):
        x, d = batch(shape, samples, seed=call)
        if UPDATES[update].pulse_type is FLOW:
            weights = reference.flow.mean_field(weights, cells, DEVICES[device], UPDATES[update], x, d, lr)
        else:
            weights = reference.flow.bounded_rank_update(weights, cells, DEVICES[device], x, d, lr)
        results.append(weights)
    return results


def run(shape: tuple[int, int], device: str, update: str, lr: float, samples: int) -> None:
    tile = made(shape, device, update)
    for call, expected in enumerate(oracle(shape, device, update, lr, samples)):
        tile.update(*batch(shape, samples, seed=call), lr)
        assert_same_bits(tile.weights, expected, f"weights {shape} after call {call}")
    assert tile.pulse_counts == (0, 0)


@pytest.mark.parametrize("name", DEVICES)
def test_mean_field_of_devices(isa: str, threads: int, name: str) -> None:
    for shape in shapes(isa):
        run(shape, name, "default", lr=0.05, samples=5)


@pytest.mark.parametrize("name", MANAGEMENTS)
@pytest.mark.parametrize("lr", [0.04, -30.0])
def test_mean_field_of_management(isa: str, name: str, lr: float) -> None:
    for shape in shapes(isa)[-3:]:
        run(shape, "exp-complex", name, lr, samples=4)
        run(shape, "linear-reversed", name, lr, samples=4)


def test_mean_field_of_many_samples(isa: str, threads: int) -> None:
    """More samples than a chunk of trains holds; nothing depends on chunks."""
    run((3, 70), "soft", "many-slots", lr=0.05, samples=20)


@pytest.mark.parametrize("lr", [0.05, -3.0])
def test_exact_changes_within_bounds(isa: str, threads: int, lr: float) -> None:
    for shape in shapes(isa):
        run(shape, "constant", "exact", lr, samples=5)
