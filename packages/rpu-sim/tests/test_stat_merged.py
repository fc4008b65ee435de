"""Updates that merge many pulses into one draw have the law of the single pulses, also close to the bounds.

Constant steps merge by counts, affine steps with additive noise by propagating mean and variance; a cell whose path
could come within six standard deviations of a bound gets its pulses one by one. 262144 cells: one-sample checks detect
a distribution function that is off by 0.0076, two-sample checks 0.011, a standard deviation that is off by 1 %.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from closed_forms import affine_moments, mean_step, walk
from sampling import check_law, check_mean, check_same_law, check_std, identical, pulse, tile_of, weights_of
from scipy import stats

from rpu_sim import config as c

SHAPE = (512, 512)
MIXED = "+++--+-++++---+-+-+++-+"

CONSTANT = identical(c.ConstantStepDevice, dw_min=0.004, dw_min_std=0.6, up_down=-0.2)
DEVICES: dict[str, Any] = {
    "constant": CONSTANT,
    "constant, very noisy": identical(c.ConstantStepDevice, dw_min=0.004, dw_min_std=3.0),
    "linear": identical(
        c.LinearStepDevice, dw_min=0.004, dw_min_std=0.6, gamma_up=0.5, gamma_down=0.9, mult_noise=False
    ),
    "soft": identical(c.SoftBoundsDevice, dw_min=0.008, dw_min_std=0.6, up_down=0.2, mult_noise=False),
}


def moments(device: Any, start: float, directions: str) -> tuple[float, float]:
    """Exact mean and standard deviation after unbounded pulses; the law is normal."""
    if isinstance(device, c.AffineStepDevice):
        return affine_moments(device, start, directions)
    changes = np.array([float(mean_step(device, 0.0, step == "+")) for step in directions])
    return start + changes.sum(), device.dw_min_std * np.sqrt(np.sum(changes**2))


@pytest.mark.parametrize("directions", ["+" * 23, "-" * 23, MIXED])
@pytest.mark.parametrize("name", DEVICES)
def test_merged_pulses_are_normal(name: str, directions: str) -> None:
    device = DEVICES[name]
    tile = tile_of(device, SHAPE, start=0.03)
    pulse(tile, directions)
    mean, std = moments(device, 0.03, directions)
    check_mean(tile.weights, mean, name, std=std, rounding=1e-7)
    check_std(tile.weights, std, name)
    check_law(tile.weights, stats.norm(mean, std).cdf, name)


@pytest.mark.parametrize("name", DEVICES)
def test_merged_pulses_have_the_law_of_single_calls(name: str) -> None:
    together, apart = tile_of(DEVICES[name], SHAPE, seed=1), tile_of(DEVICES[name], SHAPE, seed=2)
    pulse(together, MIXED)
    for step in MIXED:
        pulse(apart, step)
    check_same_law(together.weights, apart.weights, name)


@pytest.mark.parametrize("spreads", [-1.0, 0.0, 1.0, 2.5, 4.0, 5.9, 6.1])
@pytest.mark.parametrize("name", ["constant", "constant, very noisy", "linear"])
def test_close_to_the_upper_bound(name: str, spreads: float) -> None:
    """Starts from which the unbounded mean would end ``spreads`` standard deviations below the bound: clipped paths,
    rare clips (a merged draw would exceed the bound in 0.6 % of the cells at 2.5 deviations, in 8 cells at 4), and both
    sides of the six deviations at which the single pulses take over."""
    device, directions = DEVICES[name], "+" * 20
    low, high = device.w_min, device.w_max
    for _ in range(60):  # bisection for the start, as mean and spread depend on it
        start = 0.5 * (low + high)
        mean, std = moments(device, start, directions)
        low, high = (low, start) if mean + spreads * std > device.w_max else (start, high)
    tile = tile_of(device, SHAPE, start=start)
    pulse(tile, directions)
    assert tile.weights.max() <= np.float32(device.w_max)
    check_same_law(tile.weights, walk(device, start, directions, SHAPE), name)
    if spreads > 5:
        check_law(tile.weights, stats.norm(mean, std).cdf, name)
        check_std(tile.weights, std, name)


@pytest.mark.parametrize("name", ["constant", "soft"])
def test_mixed_pulses_between_narrow_bounds(name: str) -> None:
    """Bounds two steps away on both sides: the order of up and down pulses matters, all cells are pulsed one by one."""
    device = identical(type(DEVICES[name]), **{**vars(DEVICES[name]), "w_max": 0.012, "w_min": -0.008})
    tile = tile_of(device, SHAPE)
    pulse(tile, MIXED)
    check_same_law(tile.weights, walk(device, 0.0, MIXED, SHAPE), name)


@pytest.mark.parametrize("name", ["constant", "constant, very noisy", "linear", "soft"])
def test_cells_near_and_far_from_a_bound_in_one_tile(name: str) -> None:
    """Starts shuffled over the tile, so that merged cells and single pulses share packs: each quarter of the starts
    (65536 cells, detects 0.022) has the law of the single pulses."""
    device = DEVICES[name]
    start = np.random.default_rng(0).permutation(np.linspace(-0.6, 0.6, SHAPE[0] * SHAPE[1])).reshape(SHAPE)
    tile = tile_of(device, SHAPE, start=start)
    pulse(tile, MIXED)
    assert np.abs(tile.weights).max() <= np.float32(0.6)
    moved, expected = weights_of(tile) - start, walk(device, start, MIXED, SHAPE) - start
    edges = np.quantile(start, [0, 0.25, 0.5, 0.75, 1])
    for low, high in itertools.pairwise(edges):
        inside = (start >= low) & (start <= high)
        check_same_law(moved[inside], expected[inside], f"{name} from {low:.2f} to {high:.2f}")


@pytest.mark.parametrize("name", DEVICES)
def test_merged_draws_are_fresh_in_every_call_and_cell(name: str) -> None:
    """Correlations of 262144 pairs; detects 0.014."""
    tile = tile_of(DEVICES[name], SHAPE)
    changes = []
    for _ in range(2):
        tile.set_weights(np.zeros(SHAPE, np.float32))
        pulse(tile, "+-+-")
        changes.append(weights_of(tile))
    limit = 5 / np.sqrt(changes[0].size)
    assert abs(np.corrcoef(changes[0].ravel(), changes[1].ravel())[0, 1]) < limit
    for lag in (1, 4, 16, 64):
        assert abs(np.corrcoef(changes[0][:, lag:].ravel(), changes[0][:, :-lag].ravel())[0, 1]) < limit * 1.1


@pytest.mark.parametrize("sigma", [0.0, 0.3])
@pytest.mark.parametrize("device", [c.ConstantStepDevice, c.LinearStepDevice])
def test_negative_steps_stop_at_the_bounds(device: type[Any], sigma: float) -> None:
    """Without enforced consistency an up step may be negative: up pulses then run into the lower bound."""
    tile = tile_of(device(dw_min_std=sigma, enforce_consistency=False), (4, 40))
    cells = {name: np.full((4, 40), value, np.float32) for name, value in (("max_bound", 0.5), ("min_bound", -0.3))}
    cells["dwmin_up"] = np.full((4, 40), -0.01, np.float32)
    cells["dwmin_down"] = np.full((4, 40), -0.02, np.float32)
    if device is c.LinearStepDevice:
        cells |= {name: np.zeros((4, 40), np.float32) for name in ("slope_up", "slope_down")}
    tile.set_hidden_parameters(cells)
    for directions, bound in (("+" * 100, -0.3), ("-" * 100, 0.5)):
        pulse(tile, directions)
        assert weights_of(tile).min() >= np.float32(-0.3)
        assert weights_of(tile).max() <= np.float32(0.5)
        assert weights_of(tile) == pytest.approx(bound, abs=0.03 if sigma else 1e-6)
