"""What happens to weights between updates, against closed forms.

262144 cells: means are known to std / 512, standard deviations to 0.14 %, distribution functions to 0.0076.
"""

from __future__ import annotations

import numpy as np
import pytest
from sampling import (
    check_correlation,
    check_fraction,
    check_law,
    check_mean,
    check_std,
    identical,
    tile_of,
    weights_of,
)
from scipy import stats

from rpu_sim import Tile
from rpu_sim import config as c

SHAPE = (512, 512)


def test_initial_weights_are_uniform() -> None:
    tile = Tile(*SHAPE, c.SingleRPUConfig(device=c.IdealDevice()), seed=1)
    check_law(tile.weights, stats.uniform(-0.1, 0.2).cdf, "initial weight")
    check_mean(tile.weights, 0.0, "initial weight", std=0.2 / np.sqrt(12))


def test_initial_weights_respect_the_bounds() -> None:
    tile = Tile(64, 64, c.SingleRPUConfig(device=c.ConstantStepDevice(w_max=0.05, w_min=-0.02)), seed=1)
    bounds = tile.hidden_parameters()
    assert (tile.weights >= bounds["min_bound"]).all()
    assert (tile.weights <= bounds["max_bound"]).all()


@pytest.mark.parametrize("alpha", [1.0, 0.5])
def test_decay_is_geometric_towards_the_reset_bias(alpha: float) -> None:
    """n calls: w_n = b + (1 + alpha (delta - 1))^n (w_0 - b)."""
    tile = tile_of(identical(c.ConstantStepDevice, lifetime=10.0, reset=0.1), (1, 3), start=[-0.5, 0.1, 0.4])
    tile.decay(alpha)
    if alpha == 0.5:
        assert tile.weights[0, 2] == pytest.approx(0.385, abs=1e-6)
    for _ in range(11):
        tile.decay(alpha)
    expected = 0.1 + (1 - alpha / 10) ** 12 * (np.array([-0.5, 0.1, 0.4]) - 0.1)
    assert tile.weights[0] == pytest.approx(expected, abs=1e-6)


def test_decay_of_each_device() -> None:
    device = c.ConstantStepDevice(lifetime=5.0, lifetime_dtod=0.4, reset=0.05, reset_dtod=0.02, w_max=3.0, w_min=-3.0)
    tile = tile_of(device, (40, 50), start=0.3)
    cells = {name: values.astype(np.float64) for name, values in tile.hidden_parameters().items()}
    start = weights_of(tile)
    for _ in range(4):
        tile.decay()
    expected = cells["reset_bias"] + cells["decay_scales"] ** 4 * (start - cells["reset_bias"])
    assert weights_of(tile) == pytest.approx(np.clip(expected, cells["min_bound"], cells["max_bound"]), abs=1e-6)
    assert np.std(cells["decay_scales"]) > 0.05


@pytest.mark.parametrize("device", [c.FloatingPointDevice(lifetime=8.0), c.IdealDevice(lifetime=8.0)])
def test_decay_of_ideal_devices(device: c.Device) -> None:
    config = c.FloatingPointRPUConfig if isinstance(device, c.FloatingPointDevice) else c.SingleRPUConfig
    tile = Tile(3, 4, config(device=device), seed=1)
    start = weights_of(tile)
    for _ in range(5):
        tile.decay()
    assert weights_of(tile) == pytest.approx(start * (7 / 8) ** 5, rel=1e-5)


@pytest.mark.parametrize("device", [identical(c.ConstantStepDevice, diffusion=0.01), c.IdealDevice(diffusion=0.01)])
def test_diffusion_adds_up(device: c.Device) -> None:
    """n calls have variance n rho^2 and the changes of two calls are uncorrelated."""
    tile = tile_of(device, SHAPE, start=0.05)
    tile.diffuse()
    first = weights_of(tile) - 0.05
    check_law(first, stats.norm(0, 0.01).cdf, "first call")
    for _ in range(15):
        tile.diffuse()
    total = weights_of(tile) - 0.05
    check_mean(total, 0.0, "16 calls", std=0.04, rounding=1e-7)
    check_std(total, 0.04, "16 calls")
    check_law(total, stats.norm(0, 0.04).cdf, "16 calls")
    check_correlation(first, total - first, 0.0, "first and later calls")


def test_diffusion_rates_belong_to_devices() -> None:
    tile = tile_of(identical(c.ConstantStepDevice, diffusion=0.01, diffusion_dtod=0.5), SHAPE)
    tile.diffuse()
    check_law(weights_of(tile) / tile.hidden_parameters()["diffusion_rates"], stats.norm.cdf, "change over rate")


def test_diffusion_is_clipped_at_the_bounds() -> None:
    """One call from one rate below the bound: P(at the bound) = P(xi > 1), the rest is untouched."""
    tile = tile_of(identical(c.ConstantStepDevice, diffusion=0.1), SHAPE, start=0.5)
    tile.diffuse()
    clipped = tile.weights == np.float32(0.6)
    check_fraction(clipped, stats.norm.sf(1), "clipped weights")
    check_law(weights_of(tile)[~clipped], stats.truncnorm(-np.inf, 1, 0.5, 0.1).cdf, "free weights")


@pytest.mark.parametrize("prob", [1.0, 0.3])
def test_reset(prob: float) -> None:
    """Each device of the window with probability ``prob`` to N(reset, reset_dtod^2 + reset_std^2)."""
    device = identical(c.ConstantStepDevice, reset=0.05, reset_dtod=0.02, reset_std=0.03)
    tile = tile_of(device, SHAPE, start=0.25)
    tile.reset(prob=prob)
    moved = tile.weights != np.float32(0.25)
    check_fraction(moved, prob, "reset devices") if prob < 1 else check_mean(moved, 1.0, "reset devices")
    values = weights_of(tile)[moved]
    check_law(values, stats.norm(0.05, np.hypot(0.02, 0.03)).cdf, "reset weight")
    noise = (weights_of(tile) - tile.hidden_parameters()["reset_bias"])[moved]
    check_law(noise, stats.norm(0, 0.03).cdf, "reset weight around its bias")


def test_resets_are_drawn_anew() -> None:
    tile = tile_of(identical(c.ConstantStepDevice, reset_std=0.03), SHAPE)
    tile.reset()
    first = weights_of(tile)
    tile.reset()
    check_correlation(first, weights_of(tile), 0.0, "two resets")


@pytest.mark.parametrize(
    ("first", "n", "columns"),
    [(2, 3, [2, 3, 4]), (8, 4, [8, 9, 0, 1]), (-1, 2, [9, 0]), (3, -1, range(10)), (0, 0, [])],
)
def test_reset_window_wraps_around(first: int, n: int, columns: list[int]) -> None:
    tile = tile_of(identical(c.ConstantStepDevice, reset=-0.1, reset_std=0.0), (3, 10), start=0.25)
    tile.reset(first, n)
    expected = np.full((3, 10), 0.25)
    expected[:, list(columns)] = -0.1
    assert weights_of(tile) == pytest.approx(expected, abs=1e-7)


def test_reset_of_ideal_devices() -> None:
    tile = tile_of(c.IdealDevice(reset_std=0.02), SHAPE, start=0.3)
    tile.reset()
    check_law(tile.weights, stats.norm(0, 0.02).cdf, "reset weight")


def test_reset_is_clipped_at_the_bounds() -> None:
    tile = tile_of(identical(c.ConstantStepDevice, reset=0.55, reset_std=0.05), SHAPE)
    tile.reset()
    check_fraction(tile.weights == np.float32(0.6), stats.norm.sf(1), "clipped resets")


def test_a_training_step_diffuses_then_decays() -> None:
    """Diffusion first: the noise of the step decays with it, so its variance is (delta rho)^2."""
    tile = tile_of(identical(c.ConstantStepDevice, diffusion=0.01, lifetime=2.0), SHAPE, start=0.2)
    tile.post_update_step()
    check_mean(tile.weights, 0.1, "weight", std=0.005, rounding=1e-7)
    check_std(tile.weights, 0.005, "weight")
