"""n pulses of one direction against the closed forms of each device, in both directions, away from and at the bounds.

262144 cells without device-to-device spread: a mean is known to std / 512, a standard deviation to 0.14 % (so 1 %
errors are found), a distribution function to 0.0076 against a formula and 0.011 against a second sample.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from closed_forms import (
    affine_moments,
    affine_pair_fixed_point,
    affine_symmetry_point,
    exp_factor,
    logistic_weight,
    mean_step,
    noise_std,
    steps,
    walk,
)
from sampling import (
    check_fraction,
    check_law,
    check_mean,
    check_same_law,
    check_std,
    identical,
    pulse,
    tile_of,
    weights_of,
)
from scipy import optimize, stats

from rpu_sim import config as c

SHAPE = (512, 512)

AFFINE = {
    "linear, multiplicative": identical(c.LinearStepDevice, gamma_up=0.5, gamma_down=0.8, dw_min_std=0.5),
    "linear, additive": identical(c.LinearStepDevice, gamma_up=0.5, gamma_down=0.8, dw_min_std=0.5, mult_noise=False),
    "linear, growing": identical(c.LinearStepDevice, gamma_up=-0.6, gamma_down=1.4, allow_increasing=True),
    "linear, reversed": identical(c.LinearStepDevice, gamma_up=0.9, gamma_down=0.7, reverse_up=True, reverse_down=True),
    "soft, multiplicative": identical(c.SoftBoundsDevice, dw_min=0.004, up_down=0.2, w_max=0.7),
    "soft, additive": identical(c.SoftBoundsDevice, dw_min=0.004, up_down=-0.3, w_min=-0.4, mult_noise=False),
    "soft, reversed": identical(c.SoftBoundsDevice, dw_min=0.002, reverse_up=True, reverse_down=True),
}
EXP = {
    "exp": identical(c.ExpStepDevice, dw_min=0.002, A_up=0.05, A_down=0.1, gamma_up=6.0, gamma_down=4.0, a=0.4, b=0.05),
    "exp, growing steps": identical(
        c.ExpStepDevice, dw_min=0.002, A_up=-1.18, A_down=-0.08, gamma_up=5.0, gamma_down=5.0, a=-0.5, b=-0.5
    ),
    "exp, noisy": identical(
        c.ExpStepDevice, dw_min=0.002, dw_min_std=0.6, dw_min_std_add=0.002, dw_min_std_slope=0.01, up_down=-0.1
    ),
}
QUIET = {name: type(p)(**{**vars(p), "dw_min_std": 0.0}) for name, p in {**AFFINE, **EXP}.items()}


@pytest.mark.parametrize("start", [0.0, 0.3])
@pytest.mark.parametrize(("direction", "up_down"), [("+", -0.2), ("-", 0.4)])
def test_constant_step_moments(direction: str, up_down: float, start: float) -> None:
    """100 pulses of relative noise 0.3: N(w0 +- 100 s, 100 s^2 0.09); the mean is known to 6e-6 of 0.1."""
    device = identical(c.ConstantStepDevice, up_down=up_down)
    tile = tile_of(device, SHAPE, start=start)
    pulse(tile, direction * 100)
    s = steps(device)[0] if direction == "+" else -steps(device)[1]
    mean, std = start + 100 * s, 10 * abs(s) * 0.3
    check_mean(tile.weights, mean, "weight", std=std, rounding=1e-7)
    check_std(tile.weights, std, "weight")
    check_law(tile.weights, stats.norm(mean, std).cdf, "weight")


@pytest.mark.parametrize("start", [-0.2, 0.0, 0.25])
@pytest.mark.parametrize("direction", ["+", "-"])
@pytest.mark.parametrize("name", AFFINE)
def test_affine_moments(name: str, direction: str, start: float) -> None:
    """40 pulses: E = q^n w0 + (1 - q^n) / h and the recursion of the second moment."""
    device = AFFINE[name]
    tile = tile_of(device, SHAPE, start=start)
    pulse(tile, direction * 40)
    mean, std = affine_moments(device, start, direction * 40)
    check_mean(tile.weights, mean, name, std=std, rounding=1e-7)
    check_std(tile.weights, std, name)
    if not device.mult_noise:
        check_law(tile.weights, stats.norm(mean, std).cdf, name)


def test_published_moments_of_a_linear_step() -> None:
    """gamma 0.5, 400 pulses of 1e-3: mean 0.3403, std 0.00513 with additive and 0.00431 with multiplicative noise."""
    for mult_noise, std in ((False, 0.00513), (True, 0.00431)):
        device = identical(c.LinearStepDevice, gamma_up=0.5, gamma_down=0.5, mult_noise=mult_noise)
        tile = tile_of(device, SHAPE)
        pulse(tile, "+" * 400)
        assert affine_moments(device, 0.0, "+" * 400) == pytest.approx((0.3403, std), rel=2e-3)
        check_mean(tile.weights, affine_moments(device, 0.0, "+" * 400)[0], "weight", rounding=1e-6)
        check_std(tile.weights, affine_moments(device, 0.0, "+" * 400)[1], "weight")


@pytest.mark.parametrize("name", QUIET)
def test_noise_free_pulses_follow_the_equation(name: str) -> None:
    """A mixed sequence of 600 pulses over the whole range, against float64, to float32 rounding."""
    device = QUIET[name]
    start = np.linspace(device.w_min, device.w_max, 64)
    tile = tile_of(device, (1, 64), start=start)
    w: Any = start[None]
    for directions in ("+" * 150, "-" * 200, "+-" * 75, "--+" * 33):
        pulse(tile, directions)
        w = walk(device, w, directions, (1, 64))
        assert weights_of(tile) == pytest.approx(w, abs=2e-5)


@pytest.mark.parametrize("direction", ["+", "-"])
@pytest.mark.parametrize("name", ["exp", "exp, growing steps"])
def test_exp_step_obeys_the_logistic_law(name: str, direction: str) -> None:
    """The continuum solution with its first-order discretisation error, to second order in the step (1e-5)."""
    device = QUIET[name]
    for start in (-0.2, 0.0, 0.15):
        for n in (1, 10, 60):
            tile = tile_of(device, (1, 1), start=start)
            pulse(tile, direction * n)
            assert tile.weights.item() == pytest.approx(logistic_weight(device, start, n, direction == "+"), abs=1e-5)


@pytest.mark.parametrize("start", [-0.3, 0.2])
@pytest.mark.parametrize("direction", ["+", "-"])
@pytest.mark.parametrize("name", EXP)
def test_exp_step_noise_of_one_pulse(name: str, direction: str, start: float) -> None:
    device, up = EXP[name], direction == "+"
    tile = tile_of(device, SHAPE, start=start)
    pulse(tile, direction)
    mean, std = start + float(mean_step(device, start, up)), float(noise_std(device, start, up))
    check_mean(tile.weights, mean, name, std=std, rounding=1e-7)
    check_std(tile.weights, std, name)


@pytest.mark.parametrize("direction", ["+", "-"])
@pytest.mark.parametrize("name", EXP)
def test_exp_step_law_of_many_pulses(name: str, direction: str) -> None:
    tile = tile_of(EXP[name], SHAPE, start=0.05)
    pulse(tile, direction * 30)
    expected = walk(EXP[name], 0.05, direction * 30, SHAPE)
    check_same_law(tile.weights, expected, name)
    error = np.hypot(1.0, 1.0) * expected.std() / 512
    assert abs(weights_of(tile).mean() - expected.mean()) <= 5 * error


def test_exp_step_without_response_has_no_noise() -> None:
    """Beyond z = -log(A_up) / gamma_up an up pulse does nothing at all."""
    device = identical(c.ExpStepDevice, dw_min_std_add=0.01, dw_min_std_slope=0.1, A_up=0.5, gamma_up=4.0, a=0.5, b=0.0)
    limit = -np.log(device.A_up) / device.gamma_up * (device.w_max - device.w_min) / (2 * device.a)
    start = np.linspace(-0.6, 0.6, 1000)
    tile = tile_of(device, (1, 1000), start=start)
    pulse(tile, "+")
    moved = weights_of(tile)[0] != start.astype(np.float32)
    assert moved[start < limit - 1e-3].all()
    assert not moved[start > limit + 1e-3].any()


@pytest.mark.parametrize("name", ["linear, multiplicative", "soft, multiplicative", "soft, additive", "exp"])
def test_one_call_of_n_pulses_equals_n_calls_of_one(name: str) -> None:
    """The cycle noise is drawn anew for every pulse, within a call and between calls."""
    device = {**AFFINE, **EXP}[name]
    together, apart = tile_of(device, SHAPE, seed=1), tile_of(device, SHAPE, seed=2)
    pulse(together, "+" * 20)
    for _ in range(20):
        pulse(apart, "+")
    check_same_law(together.weights, apart.weights, name)
    check_std(apart.weights, float(weights_of(together).std()), name)


def test_the_change_of_a_call_is_independent_of_the_call_before_and_of_the_neighbours() -> None:
    """Correlations of 262144 pairs; detects 0.014."""
    tile = tile_of(AFFINE["soft, multiplicative"], SHAPE)
    changes = []
    for _ in range(2):
        tile.set_weights(np.zeros(SHAPE, np.float32))
        pulse(tile, "+")
        changes.append(weights_of(tile))
    first, second = changes
    limit = 5 / np.sqrt(first.size)
    assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < limit
    for lag in (1, 4, 16, 64):
        assert abs(np.corrcoef(first[:, lag:].ravel(), first[:, :-lag].ravel())[0, 1]) < limit * 1.1
    assert abs(np.corrcoef(first[1:].ravel(), first[:-1].ravel())[0, 1]) < limit * 1.1


# -- symmetry points and saturation -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["linear, multiplicative", "soft, multiplicative", "soft, additive"])
def test_affine_symmetry_point(name: str) -> None:
    """Alternating pulses converge to the fixed point of a pair, within one step of the symmetry point."""
    device = QUIET[name]
    point = affine_symmetry_point(device)
    assert float(mean_step(device, point, True)) == pytest.approx(-float(mean_step(device, point, False)), abs=1e-12)
    tile = tile_of(device, (1, 3), start=[-0.3, 0.0, 0.4])
    for _ in range(8):
        pulse(tile, "+-" * 2000)
    assert tile.weights == pytest.approx(affine_pair_fixed_point(device), abs=2e-5)
    assert tile.weights == pytest.approx(point, abs=device.dw_min)


def test_noisy_pulses_stay_around_the_symmetry_point() -> None:
    """A soft-bounds device with s_dn / s_up = 0.6 and bounds +-0.6: w* = 0.15; the mean over cells is known to 4e-5."""
    device = identical(c.SoftBoundsDevice, dw_min=0.004, up_down=0.4)
    assert affine_symmetry_point(device) == pytest.approx(0.15)
    tile = tile_of(device, (256, 256), start=0.15)
    pulse(tile, "+-" * 300)
    check_mean(tile.weights, affine_moments(device, 0.15, "+-" * 300)[0], "weight", rounding=2e-6)
    check_std(tile.weights, affine_moments(device, 0.15, "+-" * 300)[1], "weight")


def test_exp_symmetry_point() -> None:
    """Alternating pulses converge to the root of s_up y_up = s_dn y_dn, up to one step."""
    device = QUIET["exp"]
    point = optimize.brentq(lambda w: exp_factor(device, w, True) - exp_factor(device, w, False), -0.6, 0.6)
    tile = tile_of(device, (1, 3), start=[-0.3, 0.0, 0.4])
    for _ in range(8):
        pulse(tile, "+-" * 2000)
    assert tile.weights == pytest.approx(point, abs=device.dw_min)


@pytest.mark.parametrize("direction", ["+", "-"])
@pytest.mark.parametrize("mult_noise", [True, False])
def test_soft_bounds_saturate_at_the_bounds(mult_noise: bool, direction: str) -> None:
    """Noise-free pulses approach the bound as (1 - s / b)^n; multiplicative noise dies there as well."""
    for sigma in (0.0, 0.3) if mult_noise else (0.0,):
        device = identical(
            c.SoftBoundsDevice, dw_min=0.01, dw_min_std=sigma, w_max=0.5, w_min=-0.7, mult_noise=mult_noise
        )
        bound = device.w_max if direction == "+" else device.w_min
        tile = tile_of(device, (8, 100))
        pulse(tile, direction * 100)
        if sigma == 0:
            assert tile.weights == pytest.approx(bound * (1 - (1 - 0.01 / abs(bound)) ** 100), abs=2e-6)
        pulse(tile, direction * 3000)
        assert tile.weights == pytest.approx(bound, abs=1e-5)
        assert (np.abs(weights_of(tile)) <= abs(np.float32(bound))).all()


@pytest.mark.parametrize("direction", ["+", "-"])
def test_constant_steps_stop_at_the_bounds(direction: str) -> None:
    device = identical(c.ConstantStepDevice, dw_min=0.01, dw_min_std=0.0, w_max=0.505, w_min=-0.705)
    tile = tile_of(device, (1, 1))
    pulse(tile, direction * 50)
    assert tile.weights.item() == pytest.approx(0.5 if direction == "+" else -0.5, abs=1e-5)
    pulse(tile, direction * 50)
    assert tile.weights.item() == np.float32(device.w_max if direction == "+" else device.w_min)


@pytest.mark.parametrize("sigma", [0.5, 1.0])
def test_noisy_constant_steps_at_a_bound_have_spitzers_law(sigma: float) -> None:
    """The distance from the bound is a reflected random walk with steps -s (1 + sigma xi). Spitzer's identities give
    P(at the bound) = exp(-sum P(S_k > 0) / k) and the mean distance sum E[S_k^+] / k
    (doi:10.1090/S0002-9947-1956-0079851-X).
    """
    s = 0.01
    tile = tile_of(identical(c.ConstantStepDevice, dw_min=s, dw_min_std=sigma), SHAPE, start=0.6)
    pulse(tile, "+" * 60)
    k = np.arange(1, 200)
    drift = np.sqrt(k) / sigma
    at_bound = np.exp(-np.sum(stats.norm.sf(drift) / k))
    mean = s * np.sum(sigma * np.sqrt(k) * stats.norm.pdf(drift) / k - stats.norm.sf(drift))
    distance = float(np.float32(0.6)) - weights_of(tile)
    check_fraction(distance == 0, float(at_bound), "cells at the bound")
    check_mean(distance, float(mean), "distance from the bound", rounding=1e-7)


def test_additive_noise_keeps_its_size_at_the_soft_bound() -> None:
    device = identical(c.SoftBoundsDevice, dw_min=0.01, mult_noise=False, dw_min_std=1.0)
    tile = tile_of(device, SHAPE, start=0.55)
    pulse(tile, "+" * 100)
    check_same_law(tile.weights, walk(device, 0.55, "+" * 100, SHAPE), "weight")
