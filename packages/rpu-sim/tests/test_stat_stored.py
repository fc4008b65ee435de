"""Write noise and drift against closed forms, and what survives beside them.

262144 cells: a mean is known to std / 512, a standard deviation to 0.14 %, a distribution function to 0.0076, a
correlation to 0.01 (see `sampling`).
"""

from __future__ import annotations

import numpy as np
import pytest
from sampling import check_correlation, check_law, check_std, identical, pulse, tile_of, weights_of
from scipy import stats

from rpu_sim import Tile
from rpu_sim import config as c
from rpu_sim.device_array import DeviceArray, Drive, PulseRule, Trains
from rpu_sim.errors import ConfigError

SHAPE = (512, 512)
NOISE = 0.02  # write_noise_std 20 in units of dw_min


def noisy(**fields: object) -> c.SoftBoundsDevice:
    return identical(c.SoftBoundsDevice, write_noise_std=20.0, **fields)


def stored_of(tile: Tile) -> np.ndarray:
    return tile.hidden_parameters()["persistent_weights"].astype(np.float64)


# -- write noise -------------------------------------------------------------------------------------------------------


def test_visible_weights_scatter_around_the_stored_ones() -> None:
    """Var(w | p) = (write_noise_std dw_min)^2 after each kind of write, also beyond the bounds, fresh each time."""
    tile = tile_of(noisy(diffusion=0.01, lifetime=20.0), SHAPE, start=0.55)
    operations = {"set": lambda: None, "pulse": lambda: pulse(tile, "+"), "decay": tile.decay, "diffuse": tile.diffuse}
    before = None
    for name, operation in (operations | {"reset": tile.reset}).items():
        operation()
        noise = weights_of(tile) - stored_of(tile)
        check_law(noise, stats.norm(0, NOISE).cdf, name)
        check_std(noise, NOISE, name)
        if before is not None:
            check_correlation(noise, before, 0.0, f"noise before and after {name}")
        before = noise
    assert np.abs(stored_of(tile)).max() <= np.float32(0.6)


def test_write_noise_does_not_accumulate() -> None:
    """100 pulses leave the noise of one write, and the stored weights are those of a device without write noise."""
    tile, clean = tile_of(noisy(), SHAPE), tile_of(identical(c.SoftBoundsDevice), SHAPE)
    for _ in range(100):
        pulse(tile, "+")
        pulse(clean, "+")
    check_std(weights_of(tile) - stored_of(tile), NOISE, "noise after 100 writes")
    assert (stored_of(tile) == weights_of(clean)).all()


def test_untouched_cells_keep_what_they_show() -> None:
    tile = tile_of(noisy(), (8, 200))
    before = tile.get_weights()
    x = np.zeros((1, 200), np.float32)
    x[0, 3::2] = 1.0
    d = np.zeros((1, 8), np.float32)
    d[0, :4] = -1.0
    tile.update(x, d, 1.0)
    changed = tile.weights != before
    expected = np.zeros((8, 200), np.bool_)
    expected[:4, 3::2] = True
    assert (changed == expected).all()


def device_arrays() -> list[DeviceArray]:
    """One array with write noise, one without."""
    arrays = []
    for device in (noisy(), identical(c.SoftBoundsDevice)):
        counters = {"update": 0, "lifecycle": 0}
        arrays.append(DeviceArray(device, np.zeros((6, 70), np.float32), 3, counters))
        arrays[-1].draw()
        arrays[-1].set_weights(0.0)
    return arrays


def test_counted_pulses_write_the_cells_they_reach() -> None:
    counts = np.zeros((6, 70), np.int32)
    counts[1, 5:60:3], counts[4, ::7] = 40, -3
    written, clean = device_arrays()
    before = written.weight.copy()
    for array in (written, clean):
        array.fire(counts)
    assert (written.stored == clean.stored).all()
    assert ((written.weight != before) == (counts != 0)).all()


@pytest.mark.parametrize("lr", [0.5, -0.5])
@pytest.mark.parametrize("drive", [Drive.UP, Drive.DOWN_AS_UP])
def test_one_sided_pulses_write_the_cells_they_reach(drive: Drive, lr: float) -> None:
    """Of columns that ask for up and down pulses, a one-sided device gets one kind."""
    x = np.where(np.arange(70) % 2, 1.0, -1.0).astype(np.float32)[None]
    d = np.ones((1, 6), np.float32)
    written, clean = device_arrays()
    before = written.weight.copy()
    for array in (written, clean):
        array.update(PulseRule(c.UpdateParameters()), x, d, lr, Trains(3, 0, 0), drive=drive)
    assert (written.stored == clean.stored).all()
    raised = (x[0] < 0) == (lr > 0)
    reached = raised if drive is Drive.UP else ~raised
    assert ((written.weight != before) == reached[None, :]).all()


def test_pulses_at_a_bound_are_writes() -> None:
    """A pulse that cannot move the stored weight still draws the noise anew."""
    tile = tile_of(noisy(dw_min_std=0.0), (8, 50), start=0.6)
    before = tile.get_weights()
    pulse(tile, "+")
    assert (stored_of(tile) == np.float32(0.6)).all()
    assert (tile.weights != before).all()


def test_set_weights_with_and_without_noise() -> None:
    tile = tile_of(noisy(apply_write_noise_on_set=False), (30, 30), start=0.3)
    assert (tile.weights == np.float32(0.3)).all()
    pulse(tile, "+")
    assert (tile.weights != stored_of(tile)).all()
    with pytest.raises(ValueError, match="read-only"):
        tile.weights[0, 0] = 0.0
    tile = tile_of(noisy(), (30, 30), start=0.3)
    first = tile.get_weights()
    tile.set_weights(np.full((30, 30), 0.3, np.float32))
    assert (tile.weights != first).all()


def test_products_use_the_visible_weights() -> None:
    config = c.SingleRPUConfig(device=noisy(), forward=c.IOParameters(is_perfect=True))
    tile = Tile(6, 7, config, seed=1)
    assert pytest.approx(tile.get_weights(), abs=1e-7) == tile.forward(np.eye(7, dtype=np.float32)).T


def test_exact_updates_act_on_the_stored_weights() -> None:
    update = c.UpdateParameters(pulse_type=c.PulseType.NONE_WITH_DEVICE)
    tile = tile_of(noisy(), (4, 5), update=update)
    tile.update(np.ones((1, 5), np.float32), np.full((1, 4), -1.0, np.float32), 0.25)
    assert stored_of(tile) == pytest.approx(0.25)
    assert (tile.weights != np.float32(0.25)).all()


def test_hidden_parameters_round_trip_keeps_what_is_shown() -> None:
    tile = tile_of(noisy(), (10, 10))
    shown = tile.get_weights()
    tile.set_hidden_parameters(tile.hidden_parameters())
    assert (tile.weights == shown).all()
    persistent = np.zeros((10, 10), np.float32)
    persistent[0] = 0.4
    tile.set_hidden_parameters({"persistent_weights": persistent})
    assert (stored_of(tile) == persistent).all()
    assert (tile.weights[1:] == shown[1:]).all()
    assert (tile.weights[0] != shown[0]).all()


def test_write_noise_is_switched_when_the_tile_is_made() -> None:
    tile = tile_of(noisy(), (3, 4))
    with pytest.raises(ConfigError, match="write noise"):
        tile.reconfigure(device=identical(c.SoftBoundsDevice))
    tile.reconfigure(device=noisy(apply_write_noise_on_set=False))
    tile.set_weights(np.zeros((3, 4), np.float32))
    assert (tile.weights == 0).all()


# -- drift -------------------------------------------------------------------------------------------------------------


def drifting(start: float, **fields: float) -> Tile:
    drift = c.DriftParameter(**{"nu": 0.1, **fields})
    return tile_of(identical(c.ConstantStepDevice, drift=drift), SHAPE, start=start)


def test_published_drift() -> None:
    """nu 0.1, t_0 2: 0.4 drifts to 0.317731 in 20, to 0.296454 in 40; written to 0.5 it waits for the next call."""
    tile = tile_of(identical(c.ConstantStepDevice, drift=c.DriftParameter(nu=0.1, t_0=2.0)), (2, 2), start=0.4)
    for delta_t, expected in ((20.0, 0.317731), (20.0, 0.296454)):
        tile.drift(delta_t)
        assert tile.weights == pytest.approx(expected, abs=1e-6)
    tile.set_weights(np.full((2, 2), 0.5, np.float32))
    for expected in (0.5, 0.447979):
        tile.drift(6.0)
        assert tile.weights == pytest.approx(expected, abs=1e-6)


def test_drift_depends_on_the_time_only_as_a_whole() -> None:
    together, apart = drifting(0.4), drifting(0.4)
    together.drift(100.0)
    for part in (30.0, 0.5, 69.5):
        apart.drift(part)
    np.testing.assert_allclose(apart.weights, together.weights, rtol=1e-6)
    assert together.weights[0, 0] == pytest.approx(0.4 * 100**-0.1, rel=1e-6)


def test_exponents_differ_between_devices_and_calls() -> None:
    """log(w_0 / w) / log(tau) is N(nu, (nu nu_dtod)^2), and with nu_std each call has its own."""
    tile = drifting(0.3, nu_dtod=0.2)
    tile.drift(50.0)
    found = np.log(float(np.float32(0.3)) / weights_of(tile)) / np.log(50.0)
    check_law(found, stats.norm(0.1, 0.02).cdf, "exponent")
    np.testing.assert_allclose(found, tile.hidden_parameters()["drift_nu"], atol=1e-6)
    tile = drifting(0.3, nu_std=0.3)
    seen = []
    for _ in range(2):
        tile.drift(50.0)
        seen.append(np.log(float(np.float32(0.3)) / weights_of(tile)) / np.log(50.0 * (len(seen) + 1)))
        check_law(seen[-1], stats.norm(0.1, 0.03).cdf, "exponent of a call")
    check_correlation(seen[0], seen[1], 0.0, "two calls")


def test_read_noise_of_drift_does_not_accumulate() -> None:
    tile = drifting(0.3, w_noise_std=0.01)
    for _ in range(3):
        tile.drift(20.0)
    check_law(weights_of(tile), stats.norm(float(np.float32(0.3)) * 60**-0.1, 0.01).cdf, "weight")


def test_exponents_that_depend_on_the_conductance() -> None:
    """nu - nu_k (log g - log_g0) with g = (w - w_offset) / wg_ratio + g_offset, and drift towards -a."""
    tile = drifting(0.25, nu_k=0.05, g_offset=0.1, w_offset=0.05, wg_ratio=0.5, log_g0=-0.2)
    tile.drift(30.0)
    nu = 0.1 - 0.05 * (np.log((0.25 - 0.05) / 0.5 + 0.1) + 0.2)
    a, factor = 0.1 * 0.5 + 0.05, 30.0**-nu
    assert tile.weights[0, 0] == pytest.approx(0.25 * factor + a * (factor - 1), abs=1e-6)
    negative = drifting(-0.25, nu_k=0.05)
    negative.drift(30.0)
    assert np.isfinite(negative.weights).all()


def test_decay_and_diffusion_do_not_restart_the_clock() -> None:
    """What they change stays, whatever the drift does: w = w_0 f(t) + sum of changes times f(t) / f(then)."""
    device = identical(c.ConstantStepDevice, drift=c.DriftParameter(nu=0.1), lifetime=4.0)
    tile = tile_of(device, (2, 3), start=0.4)
    tile.drift(10.0)
    tile.decay()
    assert tile.weights == pytest.approx(0.75 * 0.4 * 10**-0.1, rel=1e-6)
    tile.drift(90.0)
    assert tile.weights == pytest.approx(0.75 * 0.4 * 100**-0.1, rel=1e-6)
    pulse(tile, "+")
    pulsed = tile.get_weights()
    tile.drift(10.0)  # a pulse is a write
    assert (tile.weights == pulsed).all()


@pytest.mark.parametrize("config", [c.FloatingPointRPUConfig, c.SingleRPUConfig])
def test_drift_of_ideal_devices(config: type) -> None:
    device = c.FloatingPointDevice if config is c.FloatingPointRPUConfig else c.IdealDevice
    tile = Tile(3, 4, config(device=device(drift=c.SimpleDriftParameter(nu=0.2, t_0=10.0))), seed=1)
    start = weights_of(tile)
    tile.drift(70.0)
    assert weights_of(tile) == pytest.approx(start * 7**-0.2, rel=1e-5)


def test_pulse_type_none_keeps_the_drift() -> None:
    update = c.UpdateParameters(pulse_type=c.PulseType.NONE)
    device = identical(c.ConstantStepDevice, drift=c.DriftParameter(nu=0.1))
    tile = tile_of(device, (2, 2), start=0.9, update=update)
    tile.drift(10.0)
    assert tile.weights == pytest.approx(0.9 * 10**-0.1, rel=1e-6)


def test_without_drift_time_does_nothing() -> None:
    tile = tile_of(c.ConstantStepDevice(), (3, 3), start=0.2)
    tile.drift(1e9)
    assert (tile.weights == np.float32(0.2)).all()


# -- decay of ideal devices --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("alpha", [8.0, 9.0, 20.0, -1.0])
def test_ideal_devices_ignore_a_decay_factor_outside_0_and_1(alpha: float) -> None:
    tile = Tile(3, 4, c.SingleRPUConfig(device=c.IdealDevice(lifetime=8.0)), seed=1)
    start = tile.get_weights()
    tile.decay(alpha)
    assert (tile.weights == start).all()
    tile.decay(7.0)
    assert weights_of(tile) == pytest.approx(start / 8, rel=1e-5)
