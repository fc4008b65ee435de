"""Power, piecewise and reference devices, and soft bounds by their curve, against closed forms.

262144 cells: a mean is known to std / 512, a standard deviation to 0.14 %, a distribution function to 0.0076; every
check allows 5 standard errors (see `sampling`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sampling import (
    check_correlation,
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

from rpu_sim import Tile
from rpu_sim import config as c

SHAPE = (512, 512)


def population(device: c.PulsedDevice, shape: tuple[int, int] = SHAPE) -> dict[str, np.ndarray]:
    tile = Tile(*shape, c.SingleRPUConfig(device=device), seed=1)
    return {name: np.asarray(values, np.float64) for name, values in tile.hidden_parameters().items()}


# -- mean steps in float64, without device-to-device spread ------------------------------------------------------------


def power_step(p: Any, w: Any, up: bool) -> Any:
    """Signed mean step of a power device with the reference `reference_mean`."""
    u, width = np.asarray(w) + getattr(p, "reference_mean", 0.0), p.w_max - p.w_min
    distance = (p.w_max - u if up else u - p.w_min) / width
    shrink = max(p.pow_up_down, 0.0) if not up else max(-p.pow_up_down, 0.0)
    size = p.dw_min * (1 - max(-p.up_down if up else p.up_down, 0.0))
    return (size if up else -size) * np.clip(distance, 0, 1) ** (p.pow_gamma * (1 - shrink))


def piecewise_step(p: Any, w: Any, up: bool) -> Any:
    nodes = p.piecewise_up if up else p.piecewise_down
    places = np.linspace(p.w_min, p.w_max, len(nodes))
    return (p.dw_min if up else -p.dw_min) * np.interp(w, places, nodes)


def reference_step(p: Any, w: Any, up: bool) -> Any:
    u = np.asarray(w) + p.reference_mean
    s_up, s_dn = p.dw_min * (1 - max(-p.up_down, 0.0)), p.dw_min * (1 - max(p.up_down, 0.0))
    return s_up * (1 - u / p.w_max) if up else -s_dn * (1 - u / p.w_min)


MODELS = {
    "pow": (power_step, identical(c.PowStepDevice, pow_gamma=2.0, pow_up_down=0.3, up_down=0.2, dw_min=0.004)),
    "pow, concave": (power_step, identical(c.PowStepDevice, pow_gamma=0.5, pow_up_down=-0.4, dw_min=0.004)),
    "pow reference": (
        power_step,
        identical(c.PowStepReferenceDevice, pow_gamma=1.5, reference_mean=0.15, up_down=-0.2, dw_min=0.004),
    ),
    "piecewise": (
        piecewise_step,
        identical(c.PiecewiseStepDevice, piecewise_up=[1.5, 1.0, 0.2], piecewise_down=[0.2, 1.1, 1.8], dw_min=0.004),
    ),
    "piecewise, even": (
        piecewise_step,
        identical(c.PiecewiseStepDevice, piecewise_up=[0.4, 2.0, 1.0, 0.7], piecewise_down=[0.3, 0.9, 1.6, 1.2]),
    ),
    "reference, additive": (
        reference_step,
        identical(c.SoftBoundsReferenceDevice, reference_mean=0.15, up_down=0.3, dw_min=0.004, dw_min_std=0.7),
    ),
    "reference, multiplicative": (
        reference_step,
        identical(c.SoftBoundsReferenceDevice, reference_mean=-0.1, mult_noise=True, dw_min=0.004),
    ),
}


def bounds(p: Any) -> tuple[float, float]:
    r = getattr(p, "reference_mean", 0.0)
    return p.w_min - r, p.w_max - r


def noise_of(p: Any, mean: Any, up: bool) -> Any:
    """Standard deviation of one pulse: relative to the step, or for the additive reference device to the step at 0."""
    if isinstance(p, c.SoftBoundsReferenceDevice) and not p.mult_noise:
        return p.dw_min_std * p.dw_min * (1 - max(-p.up_down if up else p.up_down, 0.0))
    return p.dw_min_std * np.abs(mean)


def walk(name: str, start: Any, directions: str, shape: tuple[int, int], sigma: float = 1.0) -> np.ndarray:
    """The per-pulse law by NumPy's generator; ``sigma`` 0 switches the noise off."""
    step, p = MODELS[name]
    rng, (low, high) = np.random.default_rng(0), bounds(p)
    w = np.broadcast_to(np.asarray(start, np.float64), shape).copy()
    for direction in directions:
        mean = step(p, w, direction == "+")
        xi = rng.standard_normal(shape) if sigma else 0.0
        w = np.clip(w + mean + noise_of(p, mean, direction == "+") * xi, low, high)
    return w


@pytest.mark.parametrize("name", MODELS)
def test_noise_free_pulses_follow_the_equation(name: str) -> None:
    """A mixed sequence of 600 pulses over the whole range, against float64, to float32 rounding."""
    device = type(MODELS[name][1])(**{**vars(MODELS[name][1]), "dw_min_std": 0.0})
    start = np.linspace(*bounds(device), 64)
    tile = tile_of(device, (1, 64), start=start)
    w: Any = start[None]
    for directions in ("+" * 150, "-" * 200, "+-" * 75, "--+" * 33):
        pulse(tile, directions)
        w = walk(name, w, directions, (1, 64), sigma=0.0)
        assert weights_of(tile) == pytest.approx(w, abs=2e-5)


@pytest.mark.parametrize("direction", ["+", "-"])
@pytest.mark.parametrize("name", MODELS)
def test_moments_of_one_pulse(name: str, direction: str) -> None:
    step, device = MODELS[name]
    tile = tile_of(device, SHAPE, start=0.2)
    pulse(tile, direction)
    mean = float(step(device, 0.2, direction == "+"))
    std = float(noise_of(device, mean, direction == "+"))
    check_law(tile.weights, stats.norm(0.2 + mean, std).cdf, name)
    check_mean(tile.weights, 0.2 + mean, name, std=std, rounding=3e-8)
    check_std(tile.weights, std, name)


@pytest.mark.parametrize("name", MODELS)
def test_law_of_many_pulses(name: str) -> None:
    """Also where cells reach a bound: 60 up pulses from near the upper one, then 30 down."""
    device = MODELS[name][1]
    start, directions = bounds(device)[1] - 0.05, "+" * 60 + "-" * 30
    tile = tile_of(device, SHAPE, start=start)
    pulse(tile, directions)
    check_same_law(tile.weights, walk(name, start, directions, SHAPE), name)


# -- power steps -------------------------------------------------------------------------------------------------------


def test_power_law_approaches_the_bound_as_its_continuum() -> None:
    """u^(1 - gamma) = u_0^(1 - gamma) - (1 - gamma) s n / R: for gamma 2, 1000 pulses of 1e-3 end at 0.17651."""
    quiet = {"dw_min_std": 0.0}
    tile = tile_of(identical(c.PowStepDevice, pow_gamma=2.0, **quiet), (1, 1))
    for _ in range(10):
        pulse(tile, "+" * 100)
    assert tile.weights.item() == pytest.approx(0.17651, abs=1e-5)
    tile = tile_of(identical(c.PowStepDevice, pow_gamma=1.0, **quiet), (1, 1))
    pulse(tile, "+" * 200)
    assert tile.weights.item() == pytest.approx(0.6 - 1.2 * 0.5 * (1 - 1e-3 / 1.2) ** 200, abs=2e-6)
    tile = tile_of(identical(c.PowStepDevice, pow_gamma=0.5, dw_min=0.01, **quiet), (1, 1))
    pulse(tile, "+" * 171)  # the bound is reached after sqrt(u_0) R / (s / 2) = 170 pulses
    assert tile.weights.item() == pytest.approx(0.6, abs=1e-6)


def test_weights_outside_the_bounds_come_back() -> None:
    """Weights that were changed from outside do not become NaN: the distance is limited to the range."""
    for device in (c.PowStepDevice, c.PowStepReferenceDevice):
        tile = tile_of(identical(device, pow_gamma=1.5), (1, 4))
        tile.weights[...] = [[-5.0, 5.0, 0.61, -0.61]]
        pulse(tile, "+-")
        assert np.abs(tile.weights).max() <= np.float32(0.6)


def test_exponents_of_power_steps() -> None:
    """gamma_up = gamma (1 - 0.2 + 0.1 xi + 0.05 xi'), gamma_down the same with + 0.2 on neither and - 0.05 xi'."""
    device = c.PowStepDevice(pow_gamma=2.0, pow_gamma_dtod=0.1, pow_up_down=-0.2, pow_up_down_dtod=0.05)
    fields = population(device)
    spread = 2.0 * np.hypot(0.1, 0.05)
    for name, mean in (("gamma_up", 1.6), ("gamma_down", 2.0)):
        check_law(fields[name], stats.norm(mean, spread).cdf, name)
    expected = (0.1**2 - 0.05**2) / (0.1**2 + 0.05**2)
    check_correlation(fields["gamma_up"], fields["gamma_down"], expected, "the exponents")


# -- references --------------------------------------------------------------------------------------------------------


def symmetry_points(device: Any, fields: dict[str, np.ndarray]) -> np.ndarray:
    """Conductances where up and down step are equal, by root finding in float64."""

    def imbalance(u: float, i: int) -> float:
        b_max, b_min, s_up, s_dn = (fields[n].flat[i] for n in ("max_bound", "min_bound", "dwmin_up", "dwmin_down"))
        if isinstance(device, c.SoftBoundsReferenceDevice):
            return s_up * (1 - u / b_max) - s_dn * (1 - u / b_min)
        v = (u - b_min) / (b_max - b_min)
        return s_up * (1 - v) ** fields["gamma_up"].flat[i] - s_dn * v ** fields["gamma_down"].flat[i]

    ends = zip(fields["min_bound"].flat, fields["max_bound"].flat, strict=True)
    roots = [optimize.brentq(imbalance, low, high, args=(i,)) for i, (low, high) in enumerate(ends)]
    return np.array(roots).reshape(fields["max_bound"].shape)


@pytest.mark.parametrize("device", [c.SoftBoundsReferenceDevice, c.PowStepReferenceDevice])
def test_the_symmetry_point_is_subtracted(device: Any) -> None:
    spread = {"reference_mean": 0.02, "subtract_symmetry_point": True, "up_down": 0.2, "up_down_dtod": 0.1}
    made = device(**spread)
    fields = population(made, (20, 20))
    assert fields["reference"] - 0.02 == pytest.approx(symmetry_points(made, fields), abs=3e-6)


@pytest.mark.parametrize("device", [c.SoftBoundsReferenceDevice, c.PowStepReferenceDevice])
def test_references_are_normal(device: Any) -> None:
    fields = population(device(reference_mean=0.1, reference_std=0.05))
    check_law(fields["reference"], stats.norm(0.1, 0.05).cdf, "reference")


def test_slopes_vary_by_their_bounds() -> None:
    """b_max / max(|1 + 0.2 xi|, 0.1); the clamp at 4.5 sigma concerns one cell in 300000."""
    fields = population(identical(c.SoftBoundsReferenceDevice, slope_up_dtod=0.2, slope_down_dtod=0.1))
    check_law(0.6 / fields["max_bound"], stats.norm(1.0, 0.2).cdf, "up slope")
    check_law(-0.6 / fields["min_bound"], stats.norm(1.0, 0.1).cdf, "down slope")


@pytest.mark.parametrize("device", [c.SoftBoundsReferenceDevice, c.PowStepReferenceDevice])
def test_everything_uses_the_shifted_bounds(device: Any) -> None:
    """Setting, decay, diffusion, reset and pulses leave w between b_min - r and b_max - r, so that no pulse jumps."""
    made = device(reference_std=0.2, diffusion=0.5, lifetime=5.0, reset=0.5, dw_min_std=0.0, corrupt_devices_prob=0.1)
    tile = tile_of(made, (40, 40), start=5.0)
    fields = tile.hidden_parameters()
    low, high = fields["min_bound"] - fields["reference"], fields["max_bound"] - fields["reference"]
    assert (tile.weights == high).all()
    step = fields["dwmin_down"] * (1 - fields["max_bound"] / np.minimum(fields["min_bound"], -1e-3)).clip(0)
    pulse(tile, "-")
    stuck = fields["dwmin_down"] == 0
    assert (high - tile.weights)[~stuck].max() <= (step[~stuck].max() + 1e-6)
    for operation in (tile.diffuse, tile.decay, tile.reset):
        operation()
        assert (tile.weights >= low).all()
        assert (tile.weights <= high).all()


@pytest.mark.parametrize("device", [c.SoftBoundsReferenceDevice, c.PowStepReferenceDevice])
def test_a_reset_ignores_the_symmetry_point(device: Any) -> None:
    made = device(
        reset=0.01, reset_std=0.0, subtract_symmetry_point=True, up_down=0.3, w_max_dtod=0.05, w_min_dtod=0.05
    )
    tile = tile_of(made, (20, 20), start=0.1)
    tile.reset()
    assert (tile.weights == np.float32(0.01)).all()


def test_one_sided_devices_with_a_reference_stay_finite() -> None:
    for device in (c.SoftBoundsReferenceDevice, c.PowStepReferenceDevice):
        for up_down in (1.0, -1.0):
            made = identical(device, up_down=up_down, subtract_symmetry_point=True)
            assert np.isfinite(population(made, (2, 2))["reference"]).all()


def test_published_reference_device() -> None:
    """s_dn / s_up = 0.6, bounds +-0.6: r = 0.15; alternating pulses end near 0, saturation at 0.45 and -0.75."""
    made = identical(c.SoftBoundsReferenceDevice, up_down=0.4, subtract_symmetry_point=True, dw_min_std=0.0)
    tile = tile_of(made, (1, 1), start=0.3)
    assert tile.hidden_parameters()["reference"].item() == pytest.approx(0.15, abs=1e-6)
    pulse(tile, "+-" * 4000)
    assert abs(tile.weights.item()) < 1e-3
    for direction, end in (("+", 0.45), ("-", -0.75)):
        for _ in range(3):
            pulse(tile, direction * 4000)
        assert tile.weights.item() == pytest.approx(end, abs=1e-4)


# -- soft bounds by their curve ----------------------------------------------------------------------------------------


def test_published_parameters_of_a_curve() -> None:
    device = c.SoftBoundsPmaxDevice().resolved()
    assert (device.w_max, device.dw_min, device.up_down) == pytest.approx((4.0829881, 0.00254149, 0.60653066), rel=3e-6)
    assert device.w_min == -1.0


def test_pulses_along_a_curve() -> None:
    """1000 pulses up from -1, down from 1: 1.356 and -0.265 by the established mapping, 1 and -1 by the corrected."""
    quiet = dict.fromkeys(("dw_min_std", "dw_min_dtod", "up_down_dtod", "w_max_dtod", "w_min_dtod"), 0.0)
    for device, ends in ((c.SoftBoundsPmaxDevice, (1.356, -0.265)), (c.SoftBoundsCurveDevice, (1.0, -1.0))):
        for start, direction, end in ((-1.0, "+", ends[0]), (1.0, "-", ends[1])):
            tile = tile_of(device(**quiet), (1, 1), start=start)
            for _ in range(10):
                pulse(tile, direction * 100)
            assert tile.weights.item() == pytest.approx(end, abs=2e-3)
    lopsided = c.SoftBoundsCurveDevice(range_max=0.5, **quiet)
    tile = tile_of(lopsided, (1, 1), start=-1.0)
    pulse(tile, "+" * 1000)
    assert tile.weights.item() == pytest.approx(0.5, abs=2e-3)
    pulse(tile, "-" * 1000)
    assert tile.weights.item() == pytest.approx(-1.0, abs=2e-3)


# -- granularity -------------------------------------------------------------------------------------------------------


def test_granularity() -> None:
    def granularity(device: c.PulsedDevice) -> float:
        return Tile(1, 1, c.SingleRPUConfig(device=device)).granularity

    assert granularity(c.PowStepDevice(pow_gamma=2.0)) == pytest.approx(0.25e-3)
    assert granularity(c.PowStepReferenceDevice(pow_gamma=1.0)) == pytest.approx(0.5e-3)
    assert granularity(c.SoftBoundsReferenceDevice(dw_min=0.003)) == pytest.approx(0.003)
    assert granularity(c.PiecewiseStepDevice(piecewise_up=[1.5, 1.0, 2.0], piecewise_down=[1.0, 0.4, 1.0])) == (
        pytest.approx(0.7e-3)
    )
    even = c.PiecewiseStepDevice(piecewise_up=[0.0, 2.0, 1.0, 0.0], piecewise_down=[0.0, 1.0, 2.0, 0.0])
    assert granularity(even) == pytest.approx(1.5e-3)
