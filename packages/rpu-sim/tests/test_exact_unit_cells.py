"""What cells add to the compiled update equals the NumPy oracle bit for bit, on every level, with any threads."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from exact import DEVICES, assert_same_bits, batch, shapes

from rpu_sim import Tile, _core, derive_seed, reference
from rpu_sim import config as c
from rpu_sim.device_array import Drive

NAMES = ("constant", "soft-additive", "exp-complex")


def array(shape: tuple[int, int], name: str) -> tuple[Any, np.ndarray, dict[str, np.ndarray], int]:
    """The array of devices of a tile, a copy of its weights, its parameters and its key."""
    tile = Tile(*shape, c.SingleRPUConfig(device=DEVICES[name]), seed=5)
    cells = {n.removeprefix("cell."): v for n, v in tile.state_dict().items() if n.startswith("cell.")}
    return tile._cells, tile.get_weights(), cells, derive_seed(5)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["STOCHASTIC_COMPRESSED", "DETERMINISTIC_IMPLICIT"])
def test_rates_shared_trains_and_one_sided_pulses(isa: str, name: str, kind: str) -> None:
    update = c.UpdateParameters(pulse_type=c.PulseType[kind])
    for shape in shapes(isa)[3:5]:
        x, d = batch(shape, 4, seed=1)
        rates = np.array([1.0, 0.3, 0.0, 2.5], np.float32)
        for drive in Drive:
            devices, weights, cells, key = array(shape, name)
            spec = _core.UpdateSpec(update)
            address = (devices.core_device, spec, x, d, -0.05, 0.002, key, 7, 99, 4, 3, rates, int(drive))
            fired = _core.update(devices.cells, *address)
            options = {"train_key": 99, "train_step": 4, "granularity": 0.002, "rates": rates, "drive": int(drive)}
            wanted = reference.update.update(
                weights, cells, DEVICES[name], update, x, d, -0.05, key=key, step=7, first_sample=3, **options
            )
            assert_same_bits(devices.weight, wanted.weights, f"{shape} {drive.name}")
            assert fired == (wanted.up.sum(), wanted.down.sum())
            assert drive is Drive.BOTH or fired[1] == 0


@pytest.mark.parametrize("name", NAMES)
def test_given_numbers_of_pulses(isa: str, threads: int, name: str) -> None:
    for shape in shapes(isa)[2:5]:
        devices, weights, cells, key = array(shape, name)
        counts = np.random.default_rng(2).integers(-40, 70, shape, dtype=np.int32)
        counts[np.random.default_rng(3).random(shape) < 0.3] = 0
        fired = _core.fire(devices.cells, devices.core_device, counts, key, 6)
        wanted = reference.update.fire(weights, cells, DEVICES[name], counts, key=key, step=6)
        assert_same_bits(devices.weight, wanted.weights, f"{shape}")
        assert fired == (wanted.up.sum(), wanted.down.sum())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["STOCHASTIC_COMPRESSED", "DETERMINISTIC_IMPLICIT", "MEAN_COUNT"])
def test_a_few_columns_of_many(isa: str, name: str, kind: str) -> None:
    """Groups of 64 columns without pulses are skipped; what is written is as without that."""
    update, shape = c.UpdateParameters(pulse_type=c.PulseType[kind]), (3, 260)
    d = np.array([[1.0, -0.5, 0.2]], np.float32)
    for columns in ([0], [63], [64, 130], [259], []):
        x = np.zeros((1, shape[1]), np.float32)
        x[0, columns] = -0.7
        devices, weights, cells, key = array(shape, name)
        address = (devices.core_device, _core.UpdateSpec(update), x, d, -0.5, 0.002, key, 7, 99, 4, 0)
        fired = _core.update(devices.cells, *address)
        options = {"train_key": 99, "train_step": 4, "granularity": 0.002}
        wanted = reference.update.update(
            weights, cells, DEVICES[name], update, x, d, -0.5, key=key, step=7, first_sample=0, **options
        )
        assert_same_bits(devices.weight, wanted.weights, f"{columns}")
        assert fired == (wanted.up.sum(), wanted.down.sum())
        assert (sum(fired) > 0) == bool(columns)


@pytest.mark.parametrize("shape", [(1, 1), (5, 70), (300, 40)])
def test_whole_steps(isa: str, threads: int, shape: tuple[int, int]) -> None:
    """Steps of some rows, which wrap around, as in NumPy; the largest numbers are cut."""
    rng = np.random.default_rng(6)
    for first, n_rows in ((0, shape[0]), (shape[0] - 1, (shape[0] + 1) // 2), (0, 0)):
        chi = rng.standard_normal(shape, np.float32)
        chi[rng.random(shape) < 0.1] *= 1e30
        counts, left = reference.transfer.take_whole_steps(chi, 0.3, 7, first, n_rows)
        found = np.full(shape, 99, np.int32)
        assert _core.take_whole_steps(chi, found, 0.3, 7, first, n_rows) == np.abs(counts).max()
        assert (found == counts).all()
        assert_same_bits(chi, left, f"{first} {n_rows}")


@pytest.mark.parametrize("forgets", [True, False])
@pytest.mark.parametrize("measures", [True, False])
def test_buffer(forgets: bool, measures: bool) -> None:
    """Random reads through the buffer; a slice is a row of its arrays."""
    rng = np.random.default_rng(4)
    buffer, mean, past = (np.zeros((3, 50), np.float32) for _ in range(3))
    sign = np.where(rng.random(50) < 0.5, -1, 1).astype(np.float32)
    rule = {"threshold": 0.7, "most_steps": 3.0, "kept": 0.2, "forgets": forgets, "keeps": True, "cap": 2.5}
    arrays = (mean, past) if measures else (None, None)
    compiled = _core.TransferBuffer(buffer, sign, *arrays, mean_weight=0.3, **rule)
    left, means, zeros = buffer.copy(), mean.copy(), past.copy()
    taken = 0
    for call in range(60):
        at, starts = call % 3, call % 7 == 0
        read = rng.standard_normal((1, 50)).astype(np.float32)
        steps = np.empty((1, 50), np.float32)
        found = compiled(read, steps, at, 0.8, starts)
        value = read[0]
        if measures:
            value, means[at], zeros[at] = reference.transfer.follow_zero(
                value, means[at], zeros[at], 0.3, starts_phase=starts
            )
        expected, left[at] = reference.transfer.take_steps(value, left[at], sign, 0.8, **rule)
        assert_same_bits(steps[0] + 0.0, expected + 0.0, "steps")  # zeros may differ in sign
        assert_same_bits(buffer, left, "buffer")
        assert found == bool(expected.any())
        taken += int(np.abs(expected).sum())
    if measures:
        assert_same_bits(mean, means, "running mean")
        assert_same_bits(past, zeros, "zero")
    assert taken > 300


@pytest.mark.parametrize("forgets", [True, False])
def test_a_buffer_stays_finite(forgets: bool) -> None:
    """However large a gain is."""
    buffer, sign = np.zeros((1, 2), np.float32), np.ones(2, np.float32)
    compiled = _core.TransferBuffer(
        buffer, sign, None, None, 1.0, 5.0, 0.0, forgets=forgets, keeps=True, cap=0.0, mean_weight=1.0
    )
    read, steps = np.array([[1e3, -1e3]], np.float32), np.empty((1, 2), np.float32)
    for _ in range(3):
        assert compiled(read, steps, 0, 3e38, False)
        assert steps.tolist() == [[5.0, -5.0]]
        assert np.isfinite(buffer).all()


def test_wrong_arrays_are_refused() -> None:
    devices, _, _, key = array((3, 4), "constant")
    with pytest.raises(Exception, match="shape of the weights"):
        _core.fire(devices.cells, devices.core_device, np.zeros((3, 5), np.int32), key, 0)
    with pytest.raises(Exception, match="more than 8192 pulses"):
        _core.fire(devices.cells, devices.core_device, np.full((3, 4), 9000, np.int32), key, 0)
