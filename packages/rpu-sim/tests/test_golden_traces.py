"""Published traces of single devices: dw_min 1e-3 without any spread, bounds +-0.6, one pulse per update."""

from __future__ import annotations

import numpy as np
import pytest
from sampling import identical, pulse, tile_of

from rpu_sim import Tile
from rpu_sim import config as c
from rpu_sim.errors import ConfigError


def quiet(device: type[c.PulsedDevice], **fields: float) -> c.PulsedDevice:
    return identical(device, **{"dw_min_std": 0.0, **fields})


def test_one_update_is_one_pulse() -> None:
    """x = 1, d = -1, BL = 1 and lr = dw_min without management: +0.001."""
    tile = tile_of(quiet(c.ConstantStepDevice), (1, 1))
    tile.update(np.ones((1, 1), np.float32), np.full((1, 1), -1.0, np.float32), 1e-3)
    assert tile.weights.item() == pytest.approx(1e-3, abs=1e-9)
    assert tile.pulse_counts == (1, 0)


@pytest.mark.parametrize(("up_down", "ends"), [(0.2, (0.1, -0.08)), (-0.2, (0.08, -0.1))])
def test_asymmetry_shrinks_one_direction(up_down: float, ends: tuple[float, float]) -> None:
    for direction, end in zip("+-", ends, strict=True):
        tile = tile_of(quiet(c.ConstantStepDevice, up_down=up_down), (1, 1))
        for _ in range(100):
            pulse(tile, direction)
        assert tile.weights.item() == pytest.approx(end, abs=2e-6)


def test_decay() -> None:
    """Lifetime 10, reset 0.1, alpha 0.5: 0.4 -> 0.385. A lifetime in (0, 1] is refused: it had two meanings."""
    tile = tile_of(quiet(c.ConstantStepDevice, lifetime=10.0, reset=0.1), (1, 1), start=0.4)
    tile.decay(0.5)
    assert tile.weights.item() == pytest.approx(0.385, abs=1e-7)
    for device in (c.ConstantStepDevice(lifetime=0.5), c.IdealDevice(lifetime=0.5)):
        with pytest.raises(ConfigError, match="lifetime"):
            Tile(1, 1, c.SingleRPUConfig(device=device))


def test_log_normal_gain() -> None:
    """sigma 0.3, up_down_dtod 0.2: E G = 1.046, Var G = 0.1030; std of a step sqrt(Var G + 0.04), covariance 0.0630.

    262144 cells; five standard errors are 0.4 % of the mean and 1 % of a second moment.
    """
    device = identical(c.ConstantStepDevice, dw_min_dtod=0.3, dw_min_dtod_log_normal=True, up_down_dtod=0.2)
    cells = Tile(512, 512, c.SingleRPUConfig(device=device), seed=1).hidden_parameters()
    up, down = (cells[name].astype(np.float64) / device.dw_min for name in ("dwmin_up", "dwmin_down"))
    assert up.mean() == pytest.approx(1.046, rel=4e-3)
    assert up.std() == pytest.approx(np.sqrt(0.1030 + 0.04), rel=1e-2)
    assert np.cov(up.ravel(), down.ravel())[0, 1] == pytest.approx(0.0630, rel=2e-2)


def test_soft_bounds_with_a_reference() -> None:
    """s_up 1e-3, s_dn 0.6e-3, symmetry point subtracted: r = 0.15. A reset returns to 0, not to the point itself."""
    device = quiet(c.SoftBoundsReferenceDevice, up_down=0.4, subtract_symmetry_point=True, reset_std=0.0)
    tile = tile_of(device, (1, 1), start=0.3)
    tile.reset()
    assert tile.weights.item() == 0.0
    tile.set_weights(np.full((1, 1), 0.6, np.float32))  # clipped to what pulses can reach, so that none jumps
    assert tile.weights.item() == pytest.approx(0.45, abs=1e-6)


def test_power_steps_with_a_reference_have_no_nan() -> None:
    """Reference 0.2, set to 0.55, one up pulse: the established code ends at -0.8."""
    device = quiet(c.PowStepReferenceDevice, reference_mean=0.2, pow_gamma=1.5)
    tile = tile_of(device, (1, 1), start=0.55)
    pulse(tile, "+")
    assert tile.weights.item() == pytest.approx(0.4, abs=1e-6)
