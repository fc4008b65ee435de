"""Updates without pulses equal the NumPy oracle bit for bit, on every level, with any number of threads."""

from __future__ import annotations

import pytest
from exact import DEVICES, assert_same_bits, batch, shapes

from rpu_sim import Tile, reference
from rpu_sim import config as c

UPDATES = {
    "default": c.UpdateParameters(),
    "no-management": c.UpdateParameters(update_bl_management=False, update_management=False, desired_bl=5),
    "growing": c.UpdateParameters(update_bl_management=False, update_management=False, fixed_bl=False, desired_bl=2),
    "rounded": c.UpdateParameters(update_bl_management=False, res=20.0, um_grad_scale=0.5),
    "rounded-by-chance": c.UpdateParameters(res=0.1, sto_round=True),
}


def run(shape: tuple[int, int], device: str, update: c.UpdateParameters, lr: float, samples: int) -> None:
    tile = Tile(*shape, c.SingleRPUConfig(device=DEVICES[device], update=update), seed=5)
    cells = {name.removeprefix("cell."): v for name, v in tile.state_dict().items() if name.startswith("cell.")}
    expected = tile.get_weights()
    for call in range(2):
        x, d = batch(shape, samples, seed=call)
        if update.pulse_type is c.PulseType.MEAN_FIELD:
            expected = reference.flow.mean_field(expected, cells, DEVICES[device], update, x, d, lr)
        else:
            expected = reference.flow.bounded_rank_update(expected, cells, DEVICES[device], x, d, lr)
        tile.update(x, d, lr)
        assert_same_bits(tile.weights, expected, f"weights {shape} after call {call}")
    assert tile.pulse_counts == (0, 0)


@pytest.mark.parametrize("name", DEVICES)
def test_mean_field_of_devices(isa: str, threads: int, name: str) -> None:
    for shape in shapes(isa):
        run(shape, name, c.UpdateParameters(pulse_type=c.PulseType.MEAN_FIELD), lr=0.05, samples=5)


@pytest.mark.parametrize("name", UPDATES)
@pytest.mark.parametrize("lr", [0.04, -30.0])
def test_mean_field_of_management(isa: str, name: str, lr: float) -> None:
    update = UPDATES[name].mutable_copy()
    update.pulse_type = c.PulseType.MEAN_FIELD
    for shape in shapes(isa)[-3:]:
        run(shape, "exp-complex", update, lr, samples=4)
        run(shape, "linear-reversed", update, lr, samples=4)


def test_mean_field_of_many_samples(isa: str, threads: int) -> None:
    """More samples than a chunk of trains holds; nothing depends on chunks."""
    run((3, 70), "soft", c.UpdateParameters(pulse_type=c.PulseType.MEAN_FIELD, desired_bl=1000), lr=0.05, samples=20)


@pytest.mark.parametrize("lr", [0.05, -3.0])
def test_exact_changes_within_bounds(isa: str, threads: int, lr: float) -> None:
    for shape in shapes(isa):
        run(shape, "constant", c.UpdateParameters(pulse_type=c.PulseType.NONE_WITH_DEVICE), lr, samples=5)
