"""The compiled update equals the NumPy oracle bit for bit, on every level, with any number of threads, at any size."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import pytest
from exact import DEVICES, UPDATES, assert_same_bits, batch, shapes

from rpu_sim import Tile, derive_seed, reference
from rpu_sim import config as c
from rpu_sim.reference.update import Pulsed


@functools.cache
def oracle(shape: tuple[int, int], device: str, update: str, lr: float, samples: int) -> list[Pulsed]:
    """Weights and pulses after each of two update calls; the same for every level and thread count."""
    tile = Tile(*shape, c.SingleRPUConfig(device=DEVICES[device], update=UPDATES[update]), seed=5)
    cells = {name.removeprefix("cell."): v for name, v in tile.state_dict().items() if name.startswith("cell.")}
    weights, results = tile.get_weights(), []
    for call in range(2):
        x, d = batch(shape, samples, seed=call)
        results.append(
            reference.update.update(
                weights,
                cells,
                DEVICES[device],
                UPDATES[update],
                x,
                d,
                lr,
                key=derive_seed(5),
                step=call,
                first_sample=3,
            )
        )
        weights = results[-1].weights
    return results


def check(shape: tuple[int, int], device: str, update: str, lr: float, samples: int) -> None:
    counting = dataclasses.replace(DEVICES[device], count_pulses=shape[0] > 1)
    tile = Tile(*shape, c.SingleRPUConfig(device=counting, update=UPDATES[update]), seed=5)
    fired = np.zeros((2, *shape), np.int64)
    for call, (expected, up, down) in enumerate(oracle(shape, device, update, lr, samples)):
        x, d = batch(shape, samples, seed=call)
        tile.update(x, d, lr, sample_offset=3)
        assert_same_bits(tile.weights, expected, f"weights {shape} after call {call}")
        fired += np.stack([up, down])
        assert tile.pulse_counts == tuple(fired.sum(axis=(1, 2)))
        if counting.count_pulses:
            assert (np.stack(list(tile.cell_pulse_counts().values())) == fired).all()
    assert fired.any() or shape == (1, 1)


@pytest.mark.parametrize("name", DEVICES)
def test_devices(isa: str, threads: int, name: str) -> None:
    for shape in shapes(isa):
        check(shape, name, "default", lr=0.05, samples=5)


@pytest.mark.parametrize("update", UPDATES)
@pytest.mark.parametrize("device", ["constant", "soft", "linear-additive"])
def test_pulse_types_and_management(isa: str, update: str, device: str) -> None:
    for shape in shapes(isa)[-3:]:
        check(shape, device, update, lr=0.04, samples=4)


@pytest.mark.parametrize("device", ["linear", "linear-reversed", "soft", "exp", "exp-complex"])
def test_noise_per_update(isa: str, threads: int, device: str) -> None:
    for shape in shapes(isa):
        check(shape, device, "noise-per-update", lr=0.05, samples=5)


@pytest.mark.parametrize("device", [name for name in DEVICES if "table" not in name])
def test_closed_form(isa: str, threads: int, device: str) -> None:
    for shape in shapes(isa):
        check(shape, device, "closed-form", lr=0.05, samples=9)


@pytest.mark.parametrize("update", ["closed-form-long", "closed-form-implicit"])
@pytest.mark.parametrize("device", ["linear-reversed", "soft", "soft-additive", "exp", "pow", "piecewise"])
def test_closed_form_of_many_pulses(isa: str, device: str, update: str) -> None:
    """Many cells reach their bounds; deterministic pulses have words of their own for each sample."""
    check((3, 200), device, update, lr=0.04, samples=9)
    check((2, 33), device, update, lr=-0.04, samples=4)


def test_negative_rate_turns_every_pulse_around(isa: str) -> None:
    check((5, 20), "soft", "default", lr=-0.05, samples=3)
    check((5, 20), "constant", "implicit", lr=-0.05, samples=3)


def test_batches_longer_than_a_chunk(isa: str) -> None:
    """More than 8192 slots are processed in chunks with draws of their own."""
    check((3, 10), "constant", "very-long", lr=0.01, samples=4)


Hidden = tuple[tuple[str, float], ...]  # parameters of the devices that are the same everywhere


def with_hidden(shape: tuple[int, int], device: str, update: str, hidden: Hidden) -> Tile:
    tile = Tile(*shape, c.SingleRPUConfig(device=DEVICES[device], update=UPDATES[update]), seed=5)
    tile.set_hidden_parameters({name: np.full(shape, value, np.float32) for name, value in hidden})
    return tile


@functools.cache
def oracle_of_call(
    shape: tuple[int, int], device: str, update: str, samples: int, first_sample: int, hidden: Hidden
) -> np.ndarray:
    """Weights after one update call; the same for every level."""
    tile = with_hidden(shape, device, update, hidden)
    cells = {name.removeprefix("cell."): v for name, v in tile.state_dict().items() if name.startswith("cell.")}
    x, d = batch(shape, samples, seed=0)
    given = (DEVICES[device], UPDATES[update], x, d, 0.05)
    key = derive_seed(5)
    return reference.update.update(
        tile.get_weights(), cells, *given, key=key, step=0, first_sample=first_sample
    ).weights


def check_call(
    shape: tuple[int, int], device: str, update: str, samples: int, first_sample: int = 0, hidden: Hidden = ()
) -> None:
    tile = with_hidden(shape, device, update, hidden)
    tile.update(*batch(shape, samples, seed=0), 0.05, sample_offset=first_sample)
    assert np.isfinite(tile.weights).all()
    assert_same_bits(tile.weights, oracle_of_call(shape, device, update, samples, first_sample, hidden), "weights")


def test_numbers_of_samples_wrap(isa: str) -> None:
    """The last samples that 32 bits can number are followed by number 0, in the oracle too."""
    check_call((3, 17), "soft", "default", samples=5, first_sample=2**32 - 2)


@pytest.mark.parametrize("update", ["long", "noise-per-update"])
@pytest.mark.parametrize("device", ["soft", "soft-additive"])
def test_steps_far_larger_than_the_range(isa: str, device: str, update: str) -> None:
    """Without bounds the weight would grow by factors of 100 to infinity and NaN; each pulse is clipped instead."""
    check_call((5, 40), device, update, samples=40, hidden=(("max_bound", 1e-5),))


def test_few_pulses_beside_many(isa: str) -> None:
    """Cells whose neighbours have more or fewer pulses than they: up to hundreds, and none."""
    for device in ("soft", "exp", "linear-additive"):
        check((3, 200), device, "long", lr=0.04, samples=9)


def test_large_updates_saturate(isa: str) -> None:
    """A huge request fills the trains and drives cells into their bounds."""
    check((4, 33), "constant", "default", lr=50.0, samples=40)
    check((4, 33), "soft-additive", "default", lr=50.0, samples=40)


@pytest.mark.parametrize("device", ["constant", "soft", "soft-additive"])
def test_cells_without_pulses_keep_their_bits(isa: str, device: str) -> None:
    """Also the sign of a zero, whether the whole row is silent (d = 0) or the cell alone (x = 0)."""
    tile = Tile(6, 70, c.SingleRPUConfig(device=DEVICES[device]), seed=5)
    tile.set_weights(np.full((6, 70), -0.0, np.float32))
    x, d = np.full((4, 70), 0.5, np.float32), np.full((4, 6), 0.3, np.float32)
    x[:, ::3], d[:, ::2] = 0.0, 0.0
    tile.update(x, d, 0.05)
    silent = (x[0] == 0) | (d[0] == 0)[:, None]
    assert_same_bits(tile.weights[silent], np.full(silent.sum(), -0.0, np.float32), "weights of silent cells")
    assert (tile.weights[~silent] != 0).mean() > 0.9


def test_trains_do_not_depend_on_how_a_batch_is_split() -> None:
    """Trains are indexed by the global sample, so noise-free halves give the bits of the whole batch."""
    device = c.ConstantStepDevice(dw_min_std=0.0, dw_min=2.0**-12, dw_min_dtod=0.0, up_down_dtod=0.0)
    config = c.SingleRPUConfig(device=device)
    whole, halves = Tile(20, 30, config, seed=1), Tile(20, 30, config, seed=1)
    for tile in (whole, halves):  # multiples of the step add up without rounding
        tile.set_weights(np.zeros((20, 30), np.float32))
    x, d = batch((20, 30), 12, seed=0)
    whole.update(x, d, 0.05)
    halves.update(x[:5], d[:5], 0.05)
    halves.steps["update"] = 0
    halves.update(x[5:], d[5:], 0.05, sample_offset=5)
    assert whole.pulse_counts == halves.pulse_counts
    inside = np.abs(whole.weights) < 0.2  # away from bounds the order of pulses does not matter
    assert_same_bits(whole.weights[inside], halves.weights[inside], "weights")
