"""No parameter of a device is ignored: a changed value changes what a tile does, or is refused."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from exact import batch

from rpu_sim import Tile
from rpu_sim import config as c
from rpu_sim.errors import ConfigError

SHAPE = (12, 20)
DRIFT = c.DriftParameter(
    nu=0.1, nu_dtod=0.2, nu_std=0.1, nu_k=0.02, g_offset=0.5, w_offset=0.01, log_g0=0.1, w_noise_std=0.001
)
BASE: dict[str, Any] = {
    "drift": DRIFT,
    "corrupt_devices_prob": 0.1,
    "diffusion": 0.01,
    "diffusion_dtod": 0.2,
    "lifetime": 10.0,
    "lifetime_dtod": 0.2,
    "reset": 0.05,
    "reset_dtod": 0.01,
    "dw_min_dtod": 0.7,
    "w_max_dtod": 0.7,
    "w_min_dtod": 0.7,
}
NOISE: dict[str, Any] = {"write_noise_std": 5.0}
REVERSED: dict[str, Any] = {"reverse_up": True, "reverse_down": True}
REFERENCE: dict[str, Any] = {"reference_std": 0.1, "subtract_symmetry_point": True}
IDEAL: dict[str, Any] = {"diffusion": 0.01, "lifetime": 10.0}
TABLE: dict[str, Any] = {"step_up": [[0.5, 1.5], [0.1, 0.4]], "step_down": [[-0.4, 0.0], [-1.5, -0.5]]}

DEVICES = [
    c.ConstantStepDevice(dw_min_dtod_log_normal=True, **BASE),
    c.LinearStepDevice(
        gamma_up=0.3, gamma_down=0.3, gamma_up_dtod=0.4, gamma_down_dtod=0.4, **REVERSED, **NOISE, **BASE
    ),
    c.SoftBoundsDevice(**REVERSED, **NOISE, **BASE),
    c.SoftBoundsPmaxDevice(**REVERSED, **NOISE, **BASE),
    c.SoftBoundsCurveDevice(**REVERSED, **NOISE, **BASE),
    c.SoftBoundsReferenceDevice(slope_up_dtod=0.1, slope_down_dtod=0.1, **REFERENCE, **NOISE, **BASE),
    c.ExpStepDevice(**NOISE, **BASE),
    c.PowStepDevice(pow_gamma_dtod=0.7, pow_up_down_dtod=0.1, **NOISE, **BASE),
    c.PowStepReferenceDevice(pow_gamma_dtod=0.7, pow_up_down_dtod=0.1, **REFERENCE, **BASE),
    c.PiecewiseStepDevice(piecewise_up=[1.0, 0.5], piecewise_down=[0.5, 1.0], **NOISE, **BASE),
    c.TableStepDevice(**TABLE, **NOISE, **BASE),
    c.IdealDevice(drift=c.SimpleDriftParameter(nu=0.1), **IDEAL),
    c.FloatingPointDevice(drift=c.SimpleDriftParameter(nu=0.1), **IDEAL),
]
#: Draws nothing on its own: the seed of an ideal device would only name exponents of a drift with a spread.
EXCEPTIONS = {("IdealDevice", "construction_seed")}


def changes(config: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every field of a configuration and of those nested in it, with another value."""
    for field in dataclasses.fields(config):
        value, here = getattr(config, field.name), (*path, field.name)
        if isinstance(value, c.ConfigBase):
            yield from changes(value, here)
        elif isinstance(value, bool):
            yield here, not value
        elif isinstance(value, int):
            yield here, 5
        elif isinstance(value, tuple):
            yield here, tuple(v * 1.5 if isinstance(v, float) else tuple(1.5 * q for q in v) for v in value)
        else:  # a number, or None where it follows from others
            yield here, 0.8 * (value or 0.0) + 0.013


def history(device: Any) -> dict[str, np.ndarray]:
    """The state of a tile after some of everything."""
    config = c.FloatingPointRPUConfig if isinstance(device, c.FloatingPointDevice) else c.SingleRPUConfig
    tile = Tile(*SHAPE, config(device=device), seed=1)
    for call in range(3):
        tile.update(*batch(SHAPE, 4, seed=call), 0.1)
        tile.drift(5.0)
        tile.post_update_step()
    tile.set_weights(np.full(SHAPE, 0.3, np.float32))
    first = tile.state_dict()
    tile.drift(7.0)
    tile.drift(7.0)
    if not isinstance(device, c.FloatingPointDevice):
        tile.reset(prob=0.5)
    return {**{f"first.{name}": v for name, v in first.items()}, **tile.state_dict()}


CASES = [(device, path, value) for device in DEVICES for path, value in changes(device)]


@pytest.mark.parametrize(
    ("device", "path", "value"), CASES, ids=[f"{type(d).__name__}-{'.'.join(p)}" for d, p, _ in CASES]
)
def test_changed_parameters_change_something(device: Any, path: tuple[str, ...], value: Any) -> None:
    if (type(device).__name__, ".".join(path)) in EXCEPTIONS:
        return
    changed = copy.deepcopy(device)
    owner = changed
    for name in path[:-1]:
        owner = getattr(owner, name)
    setattr(owner, path[-1], value)
    before = history(device)
    try:
        after = history(changed)
    except ConfigError:
        return
    numbers = [name for name in before if not name.endswith("meta")]
    assert before.keys() != after.keys() or any(not np.array_equal(before[name], after[name]) for name in numbers)
