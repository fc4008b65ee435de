"""Mean-field updates: the flow against closed forms in double precision, and as the limit of many small pulses."""

from __future__ import annotations

from collections.abc import Callable

import exact
import numpy as np
import pytest
from numpy.typing import NDArray

from rpu_sim import Tile
from rpu_sim import config as c
from rpu_sim.reference import flow
from rpu_sim.reference.devices import prepare
from rpu_sim.unit_cells.one_sided import mirror, mirrored

Float64 = NDArray[np.float64]

UNIFORM = {"dw_min_dtod": 0.0, "up_down_dtod": 0.0, "w_max_dtod": 0.0, "w_min_dtod": 0.0, "dw_min_std": 0.0}

DEVICES: dict[str, c.PulsedDevice] = {
    "constant": c.ConstantStepDevice(up_down=0.2, **UNIFORM),
    "linear": c.LinearStepDevice(
        gamma_up=0.6, gamma_down=0.4, gamma_up_dtod=0.0, gamma_down_dtod=0.0, up_down=-0.3, **UNIFORM
    ),
    "soft": c.SoftBoundsDevice(up_down=0.3, **UNIFORM),
    "exp": c.ExpStepDevice(**UNIFORM),
}


def mean_field(device: c.PulsedDevice, **update: object) -> c.SingleRPUConfig:
    return c.SingleRPUConfig(device=device, update=c.UpdateParameters(pulse_type=c.PulseType.MEAN_FIELD, **update))


def mean_step(device: c.PulsedDevice) -> Callable[[Float64, NDArray[np.bool_]], Float64]:
    """The step of one pulse as the physics page states it, in double precision."""
    s_up = device.dw_min * (1.0 + min(device.up_down, 0.0))
    s_dn = device.dw_min * (1.0 - max(device.up_down, 0.0))

    def constant(w: Float64, up: NDArray[np.bool_]) -> Float64:
        return np.where(up, s_up, -s_dn)

    def linear(w: Float64, up: NDArray[np.bool_]) -> Float64:
        assert isinstance(device, c.LinearStepDevice)
        rise = s_up * (1 - device.gamma_up * w / device.w_max)
        return np.where(up, rise, -s_dn * (1 - device.gamma_down * w / device.w_min))

    def soft(w: Float64, up: NDArray[np.bool_]) -> Float64:
        return np.where(up, s_up * (1 - w / device.w_max), -s_dn * (1 - w / device.w_min))

    def exponential(w: Float64, up: NDArray[np.bool_]) -> Float64:
        assert isinstance(device, c.ExpStepDevice)
        z = 2 * device.a * w / (device.w_max - device.w_min) + device.b
        rise = np.maximum(1 - device.A_up * np.exp(device.gamma_up * z), 0)
        return np.where(up, s_up * rise, -s_dn * np.maximum(1 - device.A_down * np.exp(-device.gamma_down * z), 0))

    return {
        c.ConstantStepDevice: constant,
        c.LinearStepDevice: linear,
        c.SoftBoundsDevice: soft,
        c.ExpStepDevice: exponential,
    }[type(device)]


def solve(device: c.PulsedDevice, w: Float64, up: NDArray[np.bool_], n: Float64, steps: int = 2000) -> Float64:
    """dw/dn = step(w) within the bounds, by the classical Runge-Kutta method; its error is far below float32."""
    step, h = mean_step(device), n / steps

    def inside(w: Float64) -> Float64:
        return np.clip(w, device.w_min, device.w_max)

    for _ in range(steps):
        k1 = step(w, up)
        k2 = step(inside(w + h / 2 * k1), up)
        k3 = step(inside(w + h / 2 * k2), up)
        k4 = step(inside(w + h * k3), up)
        w = inside(w + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4))
    return w


def one_pulse_number_per_cell(lr: float) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """x and d of one sample, of both signs and many sizes, with x_max = d_max = 1."""
    x = np.linspace(-1, 1, 41, dtype=np.float32)[None, :]
    d = np.array([[1.0, -0.7, 0.3, 0.01]], np.float32)
    return x, d


@pytest.mark.parametrize("name", DEVICES)
@pytest.mark.parametrize("lr", [0.02, -0.3, 3.0])
def test_flow_of_one_sample(name: str, lr: float) -> None:
    """Away from rounding (5e-7 of the weight range) the solution of the differential equation."""
    device = DEVICES[name]
    tile = Tile(4, 41, mean_field(device, desired_bl=8000), seed=3)
    start = np.random.default_rng(0).uniform(-0.55, 0.55, (4, 41)).astype(np.float32)
    tile.set_weights(start)
    x, d = one_pulse_number_per_cell(lr)
    tile.update(x, d, lr)
    product = d.T.astype(float) * x
    expected = solve(device, start.astype(float), product * lr < 0, np.abs(lr * product) / tile.granularity)
    assert np.abs(tile.weights - expected).max() < 5e-7 * 1.2
    assert np.abs(tile.weights - start).max() > 0.5 * min(abs(lr), 1.0) * 0.5


@pytest.mark.parametrize("name", DEVICES)
def test_samples_act_one_after_the_other(name: str) -> None:
    device, rng = DEVICES[name], np.random.default_rng(1)
    x, d = rng.standard_normal((6, 9)).astype(np.float32), rng.standard_normal((6, 5)).astype(np.float32)
    whole, parts = (Tile(5, 9, mean_field(device), seed=3) for _ in range(2))
    whole.update(x, d, 0.05)
    for b in range(6):
        parts.update(x[b : b + 1], d[b : b + 1], 0.05)
    assert (whole.weights == parts.weights).all()


@pytest.mark.parametrize("managed", [True, False])
def test_requests_beyond_the_train_are_clipped(managed: bool) -> None:
    """With management BL |x| / x_max min(1, |d| k / (BL d_max)) pulses, without it both probabilities are clipped."""
    device = c.ConstantStepDevice(w_max=5.0, w_min=-5.0, **UNIFORM)
    update = {"desired_bl": 20, "update_management": managed, "update_bl_management": managed}
    tile = Tile(4, 41, mean_field(device, **update), seed=3)
    start = tile.get_weights().astype(float)
    x, d = one_pulse_number_per_cell(lr=0.05)
    tile.update(x, d, 0.05)
    k = 0.05 / 0.001
    px, pd = (np.abs(v.astype(float)) for v in (x, d))
    pd = np.minimum(pd * k / 20, 1) if managed else np.minimum(pd * np.sqrt(k / 20), 1)
    px = px if managed else np.minimum(px * np.sqrt(k / 20), 1)
    change = -np.sign(d.T * x) * 0.001 * 20 * pd.T * px
    assert np.abs(tile.weights - start - change).max() < 1e-6


def test_forth_and_back() -> None:
    """A constant step is reversible away from the bounds; soft bounds relax towards the symmetry point.

    With q = exp(-n s / b) up maps w to b - (b - w) q, down to -b + (b + w) q: both together contract by q^2.
    """
    x, d = one_pulse_number_per_cell(lr=0.02)
    n = np.abs(d.T.astype(float) * x) * 0.02 / 0.001
    q = np.exp(-n * 0.001 / 0.6)
    first_up = np.where(d.T * x < 0, 1, -1)
    with np.errstate(invalid="ignore"):
        offset = np.where(n > 0, -first_up * 0.6 * (1 - q) ** 2 / (1 - q**2), 0)
    for name, expected in (
        ("constant", lambda w: w),
        ("soft", lambda w: (w - offset) * q**80 + offset),
    ):
        device = DEVICES[name].mutable_copy()
        device.up_down = 0.0
        tile = Tile(4, 41, mean_field(device), seed=3)
        start = tile.get_weights().astype(float)
        for _ in range(40):
            tile.update(x, d, 0.02)
            tile.update(x, d, -0.02)
        assert np.abs(tile.weights - expected(start)).max() < 3e-6


# -- the limit of many small pulses -----------------------------------------------------------------------------------


def halvings(pulse_type: c.PulseType, repeats: int) -> tuple[Float64, Float64]:
    """Mean and rms over repeats of the distance to the flow, largest over cells, for dw_min = 2^-7 .. 2^-12."""
    rng = np.random.default_rng(2)
    x, d = rng.uniform(-1, 1, (3, 16)).astype(np.float32), rng.uniform(-1, 1, (3, 8)).astype(np.float32)
    start = rng.uniform(-0.4, 0.4, (8, 16)).astype(np.float32)
    means, spreads = [], []
    for exponent in range(7, 13):
        device = c.SoftBoundsDevice(dw_min=2.0**-exponent, up_down=0.2, **UNIFORM)
        limit = Tile(8, 16, mean_field(device, desired_bl=8000), seed=1)
        update = c.UpdateParameters(pulse_type=pulse_type, desired_bl=8000)
        pulsed = Tile(8, 16, c.SingleRPUConfig(device=device, update=update), seed=1)
        limit.set_weights(start)
        limit.update(x, d, 0.3)
        errors = np.empty((repeats, 8, 16))
        for error in errors:
            pulsed.set_weights(start)
            pulsed.update(x, d, 0.3)
            error[...] = pulsed.weights.astype(float) - limit.weights
        means.append(np.abs(errors.mean(axis=0)).max())
        spreads.append(np.sqrt((errors**2).mean()))
    return np.array(means), np.array(spreads)


def order(errors: Float64) -> float:
    """Slope of log(error) over log(dw_min)."""
    return float(np.polyfit(-np.log(2) * np.arange(len(errors)), np.log(errors), 1)[0])


def test_deterministic_pulses_converge_with_order_one() -> None:
    """Pulses of step g are Euler's method, and their number is rounded: both leave an error of order g."""
    largest, _ = halvings(c.PulseType.DETERMINISTIC_IMPLICIT, repeats=1)
    assert 0.85 < order(largest) < 1.15
    assert largest[-1] < 3 * 2.0**-12


def test_stochastic_pulses_converge_with_order_one_half() -> None:
    """The variance of the number of pulses is of order 1/g, that of the weight of order g.

    384 cells and repeats: each rms is known to a few percent (cells share trains), the slope over 5 halvings to 0.02.
    """
    _, spread = halvings(c.PulseType.STOCHASTIC_COMPRESSED, repeats=60)
    assert 0.42 < order(spread) < 0.58


# -- the integrator for devices without a closed form -----------------------------------------------------------------


def both_ways(device: c.PulsedDevice, n: float) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Closed form and integration of up to ``n`` pulses, from anywhere between the bounds."""
    rng, shape = np.random.default_rng(4), (20, 40)
    tile = Tile(*shape, c.SingleRPUConfig(device=device), seed=3)
    cells = {k.removeprefix("cell."): v for k, v in tile.state_dict().items() if k.startswith("cell.")}
    cell = prepare(device, {k: np.broadcast_to(v, shape) for k, v in cells.items()})
    w = rng.uniform(-0.6, 0.6, shape).astype(np.float32)
    up, pulses = rng.random(shape) < 0.5, (n * rng.random(shape)).astype(np.float32)
    closed = flow.FLOW[type(device)](device, w, up, cell, pulses)
    integrated = flow.integrated_flow(device, w, up, cell, pulses)
    assert np.abs(closed - w).max() > 0.5 * min(n * 1e-3 * 0.5, 0.5)
    return closed, integrated


@pytest.mark.parametrize("name", DEVICES)
@pytest.mark.parametrize("n", [0.3, 30.0, 3000.0])
def test_integrator_agrees_with_the_closed_forms(name: str, n: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each substep is allowed 2^-23 of the weight and its way, 1.5e-7 here; the longest flows take about fifteen."""
    device = DEVICES[name]
    step = mean_step(device)
    monkeypatch.setitem(
        flow.MEAN_STEP, type(device), lambda _p, w, up, _c: step(w.astype(float), up).astype(np.float32)
    )
    closed, integrated = both_ways(device, n)
    assert np.abs(closed - integrated).max() < (6e-7 if n < 100 else 2e-6)


@pytest.mark.parametrize("name", DEVICES)
@pytest.mark.parametrize("n", [0.3, 30.0, 3000.0])
def test_integrator_of_a_device_without_a_mean_step(name: str, n: float) -> None:
    """The noise-free pulse takes its place: it shortens within one pulse of a bound, and is a difference of weights."""
    device = DEVICES[name]
    closed, integrated = both_ways(device, n)
    far = (np.abs(closed) < 0.6 - 2 * device.dw_min) & (np.abs(integrated) < 0.6 - 2 * device.dw_min)
    assert far.sum() > 100 or n > 1000
    assert np.abs(closed - integrated)[far].max(initial=0.0) < 4e-7 + n * 2.0**-25
    assert np.abs(closed - integrated).max() < device.dw_min


# -- mirror images ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", exact.DEVICES)
def test_mirror_image(name: str) -> None:
    """The mirror image of a device goes the opposite way from the opposite weight, to rounding."""
    device = exact.DEVICES[name]
    tiles = [Tile(6, 30, mean_field(own), seed=3) for own in (device, mirrored(device))]
    mirror(tiles[0]._cells, tiles[1]._cells)
    start = tiles[0].get_weights()
    tiles[1].set_weights(-start)
    x, d = exact.batch((6, 30), 6, seed=0)
    for tile, sign in zip(tiles, (1, -1), strict=True):  # the granularity of an exponential step is its down step
        tile.update(x, d, sign * 0.05 * tile.granularity / tiles[0].granularity)
    assert np.abs(tiles[0].weights - start).max() > 1e-3
    assert np.abs(tiles[0].weights + tiles[1].weights).max() < 2e-6
