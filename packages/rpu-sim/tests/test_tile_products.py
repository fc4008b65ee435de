"""Products of a tile: evaluation, repeated steps, split batches, and the constants of the periphery as state."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rpu_sim import Tile
from rpu_sim.config import (
    AnalogMVType,
    IdealDevice,
    IOParameters,
    IOParametersIRDropT,
    NoiseManagementType,
    SingleRPUConfig,
    WeightNoiseType,
)

X = np.random.default_rng(3).standard_normal((9, 20)).astype(np.float32)
D = np.random.default_rng(4).standard_normal((9, 30)).astype(np.float32)

EVERYTHING: dict[str, Any] = {
    "mv_type": AnalogMVType.POS_NEG_SEPARATE_DIGITAL_SUM, "w_read_asymmetry_dtod": 0.2, "ir_drop": 1.0,
    "w_noise": 0.02, "w_noise_type": WeightNoiseType.PCM_READ, "v_offset_std": 0.05, "r_series": 0.02,
    "out_nonlinearity": 0.3, "out_nonlinearity_std": 0.3, "slope_calibration": 0.4, "inp_noise": 0.05,
    "inp_asymmetry": 0.02, "out_asymmetry": 0.03, "out_noise_std": 0.2, "inp_sto_round": True, "out_bound": 0.5,
}  # fmt: skip


def tile(io: IOParameters) -> Tile:
    return Tile(30, 20, SingleRPUConfig(device=IdealDevice(), forward=io, backward=io), seed=5)


def test_evaluation_leaves_the_running_means_alone() -> None:
    """A frozen mean scales all samples alike, so the result is that of CONSTANT with this value."""
    average = tile(IOParameters(noise_management=NoiseManagementType.AVERAGE_ABS_MAX))
    average.forward(X)
    average.backward(D)
    before = average.state_dict()
    means = {name: before[f"buffer.{name}_running_mean"].copy() for name in ("forward", "backward")}
    y, z = average.forward(3 * X, evaluate=True), average.backward(3 * D, evaluate=True)
    after = average.state_dict()
    for name, mean in means.items():
        np.testing.assert_array_equal(after[f"buffer.{name}_running_mean"], mean)
        constant = IOParameters(noise_management=NoiseManagementType.CONSTANT, nm_thres=float(mean[0]))
        fixed = tile(constant)
        same = fixed.forward(3 * X, step=1) if name == "forward" else fixed.backward(3 * D, step=1)
        np.testing.assert_array_equal(same, y if name == "forward" else z)
    average.forward(3 * X)
    assert average.state_dict()["buffer.forward_running_mean"] != means["forward"]


@pytest.mark.parametrize("io", [IOParameters(**EVERYTHING), IOParametersIRDropT(inp_noise=0.05)], ids=["io", "slices"])
def test_steps_and_split_batches(io: IOParameters) -> None:
    """An explicit step repeats a call, in parts too, and leaves the counter; calls without one differ."""
    a = tile(io)
    for call, values, counter in ((a.forward, X, "forward"), (a.backward, D, "backward")):
        y = call(values)
        assert (call(values) != y).any()
        np.testing.assert_array_equal(call(values, step=0), y)
        parts = [call(values[i : i + 4], step=0, sample_offset=i) for i in range(0, 9, 4)]
        np.testing.assert_array_equal(np.concatenate(parts), y)
        assert a.steps[counter] == 2


def test_constants_are_state() -> None:
    """They are saved, and a restored tile continues with the same ones."""
    a = tile(IOParameters(**EVERYTHING))
    saved = a.state_dict()
    names = {name.removeprefix("buffer.forward_") for name in saved if name.startswith("buffer.forward")}
    assert names == {"out_noise", "nonlinearity", "voltage_offset", "read_asymmetry"}
    assert saved["buffer.backward_read_asymmetry"].shape == (30, 20)
    b = Tile.from_state(saved)
    np.testing.assert_array_equal(b.forward(X), a.forward(X))
    np.testing.assert_array_equal(b.backward(D), a.backward(D))


def test_constants_follow_from_seed_and_configuration() -> None:
    """A reconfigured tile equals one that was made with the new configuration."""
    a, io = tile(IOParameters(out_noise_std=0.1)), IOParameters(**EVERYTHING)
    a.reconfigure(forward=io, backward=io)
    b = tile(io)
    np.testing.assert_array_equal(a.forward(X), b.forward(X))
    np.testing.assert_array_equal(a.backward(D), b.backward(D))
