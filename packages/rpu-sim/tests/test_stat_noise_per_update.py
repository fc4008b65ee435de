"""Cycle noise of a whole update from mean and variance: exact moments where the step is affine, and a bounded distance.

Samples: one update of n pulses in one direction for every cell of a large tile, all cells alike.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from rpu_sim import Tile
from rpu_sim import config as c

SHAPE = (500, 500)
CELLS = SHAPE[0] * SHAPE[1]
NOISES = (c.CycleNoiseType.PER_PULSE, c.CycleNoiseType.PER_UPDATE)
UNIFORM = {"dw_min_dtod": 0.0, "up_down_dtod": 0.0, "w_max_dtod": 0.0, "w_min_dtod": 0.0}


def pulsed(device: c.PulsedDevice, noise: c.CycleNoiseType, up: int, down: int, start: float) -> NDArray[np.float64]:
    """Weights after ``up`` up pulses and then ``down`` down pulses of every cell, in one update call."""
    update = c.UpdateParameters(noise=noise, desired_bl=1)
    tile = Tile(*SHAPE, c.SingleRPUConfig(device=device, update=update), seed=11)
    tile.set_weights(np.full(SHAPE, start, np.float32))
    x = np.ones((up + down, SHAPE[1]), np.float32)
    d = np.repeat(np.array([-1.0, 1.0], np.float32), [up, down])[:, None].repeat(SHAPE[0], axis=1)
    tile.update(x, d, 1.0)  # asks for far more than one pulse of each sample and gets one
    assert tile.pulse_counts == (up * CELLS, down * CELLS)
    return tile.weights.astype(float).ravel()


def soft(dw_min: float = 0.01, sigma: float = 0.5) -> c.SoftBoundsDevice:
    return c.SoftBoundsDevice(dw_min=dw_min, dw_min_std=sigma, **UNIFORM)


def soft_moments(device: c.SoftBoundsDevice, up: int, down: int, start: float) -> tuple[float, float]:
    """Exact mean and variance of multiplicative noise: E w' = E w + E v, E w'^2 follows from v = s + k w."""
    mean, square = start, start**2
    for rises in [True] * up + [False] * down:
        s, k = (
            (device.dw_min, -device.dw_min / device.w_max) if rises else (-device.dw_min, device.dw_min / device.w_min)
        )
        v_mean, v_square = s + k * mean, s**2 + 2 * s * k * mean + k**2 * square
        w_v = s * mean + k * square
        mean, square = mean + v_mean, square + 2 * w_v + v_square * (1 + device.dw_min_std**2)
    return mean, square - mean**2


def kolmogorov_distance(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    both = np.concatenate([a, b])
    both.sort()
    ranks = [np.searchsorted(np.sort(s), both, side="right") / s.size for s in (a, b)]
    return float(np.abs(ranks[0] - ranks[1]).max())


@pytest.mark.parametrize(("up", "down"), [(8, 0), (0, 12), (10, 10)])
@pytest.mark.parametrize("noise", NOISES)
def test_moments_are_exact(noise: c.CycleNoiseType, up: int, down: int) -> None:
    """250 000 cells; mean and variance within 5 standard errors (false alarm 6e-7 each)."""
    device = soft()
    mean, variance = soft_moments(device, up, down, start=0.1)
    w = pulsed(device, noise, up, down, start=0.1)
    fourth = np.mean((w - w.mean()) ** 4)
    assert abs(w.mean() - mean) < 5 * math.sqrt(variance / CELLS) + 1e-7
    assert abs(w.var() - variance) < 5 * math.sqrt((fourth - variance**2) / CELLS) + 1e-10


@pytest.mark.parametrize("dw_min", [0.01, 0.02, 0.04])
def test_distance_is_bounded(dw_min: float) -> None:
    """Each pulse multiplies the rest of the way by 1 - k (1 + sigma xi), k = s / b: after n pulses it is nearly
    log-normal, with skewness 3 sigma k sqrt(n), and 0.066 times that away from the normal law.

    Two samples of 250 000 differ by less than 0.0046 by chance (probability 1e-4).
    """
    device, n = soft(dw_min, sigma=0.3), 8
    one, whole = (pulsed(device, noise, n, 0, start=-0.2) for noise in NOISES)
    assert (one != whole).mean() > 0.99  # no cell is near a bound, where both draw pulse by pulse
    bound = 0.2 * device.dw_min_std * dw_min / device.w_max * math.sqrt(n)
    distance = kolmogorov_distance(one, whole)
    assert distance < bound + 0.0046
    assert distance > 0.0046 or dw_min < 0.04  # the largest one is seen


@pytest.mark.parametrize("start", [-0.2, 0.0, 0.2])
def test_exponential_step(start: float) -> None:
    """The step is linearised around the mean: what is left out of the mean is v'' / 2 times the variance, per pulse."""
    device = c.ExpStepDevice(dw_min=0.01, dw_min_std=0.3, **UNIFORM)
    n = 20
    one, whole = (pulsed(device, noise, 0, n, start) for noise in NOISES)
    curvature = (
        device.dw_min * device.A_down * math.exp(-device.gamma_down * (device.b + 2 * device.a * (start - 0.2) / 1.2))
    )
    curvature *= (2 * device.a * device.gamma_down / 1.2) ** 2
    neglected = n * curvature / 2 * one.var()
    assert abs(one.mean() - whole.mean()) < neglected + 5 * math.sqrt(2 * one.var() / CELLS)
    assert neglected < 0.02 * one.std()
    assert abs(one.std() / whole.std() - 1) < 0.02
    assert kolmogorov_distance(one, whole) < 0.0046 + 0.4 * (neglected / one.std() + 0.02)
