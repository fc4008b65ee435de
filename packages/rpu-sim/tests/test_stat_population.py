"""Device-to-device variation against its closed forms.

n = 262144 devices per tile: the mean of a normal quantity of relative spread c is known to c / 512, its standard
deviation to 0.14 %, a distribution function to 0.0076 (what a Kolmogorov-Smirnov check detects), a correlation to
0.2 %.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from closed_forms import folded_cdf, folded_moments, ordered_bound_cdf
from sampling import check_correlation, check_fraction, check_law, check_mean, check_std, identical
from scipy import stats

from rpu_sim import Tile
from rpu_sim import config as c

SHAPE = (512, 512)


def population(device: c.PulsedDevice, seed: int = 1, shape: tuple[int, int] = SHAPE) -> dict[str, np.ndarray]:
    tile = Tile(*shape, c.SingleRPUConfig(device=device), seed=seed)
    return {name: np.asarray(values, np.float64) for name, values in tile.hidden_parameters().items()}


def check_normal(sample: np.ndarray, mean: float, std: float, what: str) -> None:
    check_mean(sample, mean, what, std=std)
    check_std(sample, std, what)
    check_law(sample, stats.norm(mean, std).cdf, what)


@pytest.mark.parametrize("spread", [0.3, 1.0])
def test_bounds_are_folded_normals(spread: float) -> None:
    """At spread 1 a third of the mass of one bound is folded; its mean moves by 17 %, 50 standard errors and more."""
    device = identical(c.ConstantStepDevice, w_max=0.6, w_min=-0.0, w_max_dtod=spread)
    fields = population(device)
    # A lower bound of 0 crosses a negative upper bound: they are swapped, and the absolute value brings it back up.
    top = np.maximum(fields["max_bound"], -fields["min_bound"])
    mean, std = folded_moments(0.6, 0.6 * spread)
    check_mean(top, mean, "bound", std=std)
    check_std(top, std, "bound")
    check_law(top, folded_cdf(0.6, 0.6 * spread), "bound")
    assert (fields["max_bound"] >= 0).all()
    assert (fields["min_bound"] <= 0).all()


@pytest.mark.parametrize(("up", "down"), [(0.3, 0.3), (0.8, 0.6), (1.5, 1.5)])
def test_crossed_bounds_are_swapped(up: float, down: float) -> None:
    fields = population(identical(c.ConstantStepDevice, w_max=0.6, w_min=-0.4, w_max_dtod=up, w_min_dtod=down))
    upper, lower = (0.6, 0.6 * up), (-0.4, 0.4 * down)
    check_law(fields["max_bound"], ordered_bound_cdf(upper, lower), "upper bound")
    mirrored = ordered_bound_cdf((0.4, lower[1]), (-0.6, upper[1]))
    check_law(-fields["min_bound"], mirrored, "lower bound")


@pytest.mark.parametrize("up_down", [-0.2, 0.0, 0.2])
def test_steps_share_a_gain_and_differ_by_an_asymmetry(up_down: float) -> None:
    """Var = Var G + u^2 and Cov = Var G - u^2; the mean asymmetry shrinks one direction only."""
    gain, u, dw = 0.1, 0.05, 0.001
    fields = population(identical(c.ConstantStepDevice, dw_min=dw, dw_min_dtod=gain, up_down=up_down, up_down_dtod=u))
    s_up, s_dn = fields["dwmin_up"] / dw, fields["dwmin_down"] / dw
    std = np.hypot(gain, u)
    check_normal(s_up, 1 + min(up_down, 0.0), std, "up step")
    check_normal(s_dn, 1 - max(up_down, 0.0), std, "down step")
    check_correlation(s_up, s_dn, (gain**2 - u**2) / (gain**2 + u**2), "steps")
    check_normal(s_up - s_dn, up_down, 2 * u, "difference of the steps")


def test_steps_of_wide_spread_are_folded() -> None:
    """Spread 0.8 and asymmetry 0.3: 8 % of the steps are folded."""
    fields = population(identical(c.ConstantStepDevice, dw_min=1.0, dw_min_dtod=0.8, up_down=0.3, up_down_dtod=0.3))
    for name, mean in (("dwmin_up", 1.0), ("dwmin_down", 0.7)):
        expected, std = folded_moments(mean, np.hypot(0.8, 0.3))
        check_mean(fields[name], expected, name, std=std)
        check_std(fields[name], std, name)
        check_law(fields[name], folded_cdf(mean, np.hypot(0.8, 0.3)), name)


@pytest.mark.parametrize("keeps_mean", [False, True])
def test_log_normal_gain(keeps_mean: bool) -> None:
    """sigma = 0.3, u = 0.2: E G = 1.046, Var G = 0.1030, or 1 and 0.0942 with the mean kept; detects 0.5 % in each."""
    sigma, u = 0.3, 0.2
    law = {"dw_min_dtod_log_normal": True, "dw_min_dtod_mean_preserving": keeps_mean}
    fields = population(identical(c.ConstantStepDevice, dw_min=1.0, dw_min_dtod=sigma, up_down_dtod=u, **law))
    median = np.exp(-(sigma**2) / 2) if keeps_mean else 1.0
    mean_gain = median * np.exp(sigma**2 / 2)
    var_gain = (np.exp(sigma**2) - 1) * mean_gain**2
    assert mean_gain == pytest.approx(1.0 if keeps_mean else 1.046, abs=5e-4)
    half_sum = 0.5 * (fields["dwmin_up"] + fields["dwmin_down"])  # the gain; of the steps only 1e-5 are folded
    check_law(np.log(half_sum), stats.norm(np.log(median), sigma).cdf, "logarithm of the gain")
    check_mean(fields["dwmin_up"], mean_gain, "up step", std=np.sqrt(var_gain + u**2))
    product = (fields["dwmin_up"] - mean_gain) * (fields["dwmin_down"] - mean_gain)
    check_mean(product, var_gain - u**2, "covariance of the steps")


def test_stuck_devices() -> None:
    """Fraction 0.2 known to 0.08 %; the stuck values are uniform in the range, their std is range / sqrt(3)."""
    device = identical(c.ConstantStepDevice, corrupt_devices_prob=0.2, corrupt_devices_range=0.3)
    fields = population(device)
    stuck = fields["max_bound"] == fields["min_bound"]
    check_fraction(stuck, 0.2, "stuck devices")
    values = fields["max_bound"][stuck]
    check_std(values, 0.3 / np.sqrt(3), "stuck value")
    check_law(values, stats.uniform(-0.3, 0.6).cdf, "stuck value")
    for name in ("dwmin_up", "dwmin_down"):
        assert (fields[name][stuck] == 0).all()
        assert (fields[name][~stuck] == np.float32(0.001)).all()


def test_stuck_values_stay_within_the_bounds() -> None:
    device = identical(c.ConstantStepDevice, corrupt_devices_prob=1.0, corrupt_devices_range=0.5, w_max=0.2, w_min=-0.9)
    fields = population(device)
    assert (fields["max_bound"] == fields["min_bound"]).all()
    check_law(fields["max_bound"], stats.uniform(-0.5, 0.7).cdf, "stuck value")


def test_perfect_bias_column() -> None:
    device = c.ConstantStepDevice(perfect_bias=True, corrupt_devices_prob=0.3)
    fields = population(device, shape=(64, 33))
    exact = {"max_bound": 60.0, "min_bound": -60.0, "dwmin_up": 0.001, "dwmin_down": 0.001}
    for name, value in exact.items():
        assert fields[name][:, -1] == pytest.approx(value, rel=1e-6)
        assert np.unique(fields[name][:, :-1]).size > 1000


def test_without_consistency_signs_are_kept_and_crossed_bounds_pin_the_device() -> None:
    device = c.ConstantStepDevice(
        dw_min=1.0, dw_min_dtod=0.8, up_down_dtod=0.0, w_max_dtod=1.0, w_min_dtod=1.0, enforce_consistency=False
    )
    fields = population(device)
    check_normal(fields["dwmin_up"], 1.0, 0.8, "up step")
    pinned = fields["max_bound"] == fields["min_bound"]
    check_fraction(pinned, stats.norm.sf(np.sqrt(2)), "crossed bounds")  # b_max - b_min ~ N(1.2, 2 * 0.6^2)
    middle = 0.5 * (fields["max_bound"] + fields["min_bound"])
    check_normal(middle, 0.0, 0.6 / np.sqrt(2), "middle of the bounds")


def test_slow_processes() -> None:
    device = identical(
        c.ConstantStepDevice,
        diffusion=0.01,
        diffusion_dtod=0.8,
        reset=0.05,
        reset_dtod=0.02,
        lifetime=4.0,
        lifetime_dtod=0.5,
    )
    fields = population(device)
    check_law(fields["diffusion_rates"], folded_cdf(0.01, 0.008), "diffusion rate")
    check_normal(fields["reset_bias"], 0.05, 0.02, "reset bias")
    forgetful = fields["decay_scales"] == 0
    check_fraction(forgetful, stats.norm.cdf((1 - 4) / 2), "lifetimes of one call or less")
    lifetime = 1 / (1 - fields["decay_scales"][~forgetful])
    check_law(lifetime, stats.truncnorm(-1.5, np.inf, 4, 2).cdf, "lifetime")


@pytest.mark.parametrize("own_bounds", [False, True])
@pytest.mark.parametrize("increasing", [False, True])
def test_linear_slopes(own_bounds: bool, increasing: bool) -> None:
    """gamma is N(gamma, gamma_dtod) (absolute spread), folded unless it may be negative."""
    device = c.LinearStepDevice(
        gamma_up=0.1,
        gamma_down=0.3,
        gamma_up_dtod=0.1,
        gamma_down_dtod=0.2,
        allow_increasing=increasing,
        mean_bound_reference=not own_bounds,
        w_max=0.7,
        w_min=-0.5,
    )
    fields = population(device)
    high = fields["max_bound"] if own_bounds else 0.7
    low = fields["min_bound"] if own_bounds else -0.5
    gamma_up = -fields["slope_up"] * high / fields["dwmin_up"]
    gamma_down = -fields["slope_down"] * low / fields["dwmin_down"]
    for gamma, mean, std in ((gamma_up, 0.1, 0.1), (gamma_down, 0.3, 0.2)):
        check_law(gamma, stats.norm(mean, std).cdf if increasing else folded_cdf(mean, std), "gamma")


def test_reversed_slopes_refer_to_the_far_bound() -> None:
    device = identical(
        c.LinearStepDevice, gamma_up=0.4, gamma_down=0.2, reverse_up=True, reverse_down=True, reverse_offset=0.1
    )
    fields = population(device, shape=(1, 1))
    assert fields["slope_up"].item() == pytest.approx(0.4 * 0.001 / 0.7, rel=1e-6)
    assert fields["slope_down"].item() == pytest.approx(-0.2 * 0.001 / 0.7, rel=1e-6)


def normal_scores() -> dict[str, np.ndarray]:
    """The independent normal draws behind a tile, recovered from its parameters."""
    device = c.LinearStepDevice(
        dw_min=1.0,
        dw_min_dtod=0.1,
        up_down_dtod=0.05,
        w_max_dtod=0.1,
        w_min_dtod=0.1,
        gamma_up=1.0,
        gamma_down=1.0,
        diffusion=1.0,
        diffusion_dtod=0.1,
        reset_dtod=0.1,
        lifetime=100.0,
        lifetime_dtod=0.1,
    )
    f = population(device)
    return {
        "max_bound": f["max_bound"],
        "min_bound": f["min_bound"],
        "gain": f["dwmin_up"] + f["dwmin_down"],
        "asymmetry": f["dwmin_up"] - f["dwmin_down"],
        "gamma_up": -f["slope_up"] / f["dwmin_up"],
        "gamma_down": f["slope_down"] / f["dwmin_down"],
        "diffusion": f["diffusion_rates"],
        "reset": f["reset_bias"],
        "lifetime": 1 / (1 - f["decay_scales"]),
    }


def test_draws_of_a_device_are_independent() -> None:
    """All 36 pairs; detects a correlation of 0.014."""
    for (a, first), (b, second) in itertools.combinations(normal_scores().items(), 2):
        check_correlation(first, second, 0.0, f"{a} and {b}")


def test_devices_and_tiles_are_independent() -> None:
    device = c.ConstantStepDevice()
    bound = population(device)["max_bound"]
    for rows, columns in itertools.product((0, 1, 2), (0, 1, 4, 16, 17, 64)):
        if rows or columns:
            here, there = bound[rows:, columns:], bound[: SHAPE[0] - rows, : SHAPE[1] - columns]
            check_correlation(here, there, 0.0, f"devices {rows} rows and {columns} columns apart")
    check_correlation(bound, population(device, seed=2)["max_bound"], 0.0, "tiles of neighbouring seeds")


def test_construction_seed_names_the_devices() -> None:
    def bound(construction_seed: int, seed: int) -> Any:
        return population(c.ConstantStepDevice(construction_seed=construction_seed), seed, (20, 20))["max_bound"]

    assert (bound(7, 1) == bound(7, 2)).all()
    assert (bound(7, 1) != bound(8, 1)).any()
    assert (bound(0, 1) != bound(0, 2)).any()
