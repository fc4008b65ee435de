"""Published golden values of the noise models: spreads, exponents, read-noise factors and drift factors.

The tables are given with six or eight digits; every entry must agree to the last one. float64, no sampling.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

import aihw_inference as ai
from aihw_inference.drift import log_time_ratio
from aihw_inference.moments import drift_factor, folded_normal, rectified_normal
from aihw_inference.read_noise import read_noise_factor

from .backends import Backend

TIMES = [0.0, 1.0, 60.0, 3600.0, 86400.0, 2.592e6, 3.1536e7]

S_TABLE = {
    "PCM": (20.0, 250e-9, [4.183825, 4.189652, 4.346341, 4.764755, 5.086810, 5.410786, 5.636958]),
    "HERMES 1": (200.0, 512e-9, [4.369223, 4.369794, 4.399145, 4.694097, 5.016059, 5.344138, 5.573010]),
    "HERMES 2": (300.0, 512e-9, [4.415380, 4.415756, 4.435978, 4.696863, 5.016174, 5.344142, 5.573010]),
}

POWER_LAW_MODELS = {
    "PCM": ai.PCMLikeNoiseModel(),
    "HERMES 1": ai.HermesNoiseModel(num_devices=1),
    "HERMES 2": ai.HermesNoiseModel(),
}


def _table(name: str) -> np.ndarray:
    """Rows of a model: r, sigma_prog, E g_P, std g_P, mu_nu, sigma_nu, E nu, Q, E f at the six times after 0."""
    lines = (Path(__file__).parent / "data" / "power_law_models.csv").read_text().splitlines()
    rows = [line.split(",") for line in lines]
    return np.array([[float(value) for value in row[1:]] for row in rows if row[0] == name])


def _double(backend: Backend, values) -> object:
    """float64 where the library has it (JAX by default has not), and the tolerance that goes with it."""
    x = backend.array(np.array(values, np.float64 if backend.name != "jax" else np.float32))
    return x, (2e-6 if backend.name == "jax" else 0.0)


@pytest.mark.parametrize("name", list(S_TABLE))
def test_read_noise_factor(name: str):
    t_0, t_read, expected = S_TABLE[name]
    np.testing.assert_allclose([read_noise_factor(t + t_0, t_read) for t in TIMES], expected, rtol=0, atol=5.1e-7)


@pytest.mark.parametrize("name", list(POWER_LAW_MODELS))
def test_power_law_models(backend: Backend, name: str):
    model, table = POWER_LAW_MODELS[name], _table(name)
    r = table[:, 0]
    g, rtol = _double(backend, r * model.g_max)
    std = backend.numpy(model.programming_std(g)).astype(float)
    mean_nu, std_nu = (backend.numpy(v).astype(float) for v in model.drift_mean_std(g))
    q = backend.numpy(model.relative_read_noise(g)).astype(float)
    for mine, column in ((std, 1), (mean_nu, 4), (std_nu, 5), (q, 7)):
        np.testing.assert_allclose(mine, table[:, column], rtol=rtol, atol=5.1e-9)
    if backend.name == "jax":
        return
    for i in range(len(r)):
        mean, spread = rectified_normal(r[i] * model.g_max, std[i])
        assert (mean, spread) == (pytest.approx(table[i, 2], abs=5.1e-7), pytest.approx(table[i, 3], abs=5.1e-7))
        assert folded_normal(mean_nu[i], std_nu[i])[0] == pytest.approx(table[i, 6], abs=5.1e-9)
        for t, expected in zip(TIMES[1:], table[i, 8:], strict=True):
            factor = drift_factor(mean_nu[i], std_nu[i], log_time_ratio(t, model.t_0))[0]
            assert factor == pytest.approx(expected, abs=5.1e-7)


def test_pcm_corners():
    model = ai.PCMLikeNoiseModel()
    r = np.array([0.0076166, 0.204519, 0.0170433, 0.328901])
    mean, std = model.drift_mean_std(r * 25.0)
    assert mean[0] == pytest.approx(0.1, abs=1e-6)
    assert mean[1] == pytest.approx(0.049, abs=1e-6)
    assert std[2] == pytest.approx(0.045, abs=1e-6)
    assert std[3] == pytest.approx(0.008, abs=1e-6)
    assert model.relative_read_noise(np.array([0.00818472 * 25.0]))[0] == pytest.approx(0.2, abs=1e-6)
    grid = np.linspace(0.0, 25.0, 100_001)
    spread = model.programming_std(grid)
    assert spread.max() == pytest.approx(1.0863, abs=5e-5)
    assert grid[spread.argmax()] / 25.0 == pytest.approx(0.8375, abs=1e-4)
    relative = model.read_std(np.array([25.0]), np.array([25.0]), 0.0)[0] / 25.0
    assert relative == pytest.approx(0.0368, abs=5e-5)


@pytest.mark.parametrize(
    ("num_devices", "joints"),
    [
        (1, [(0.3039, 0.0124, 0.012401), (0.1591, 0.018138, 0.017864)]),
        (2, [(0.3055, 0.0091, 0.009040), (0.16, 0.015, 0.014987)]),
    ],
)
def test_hermes_joints(num_devices: int, joints):
    model = ai.HermesNoiseModel(num_devices=num_devices)
    beside = np.array([-1e-9, 0.0])
    (nu_joint, *nu_expected), (read_joint, *read_expected) = joints
    mean = model.drift_mean_std((0.0945 + beside) * model.g_max)[0]
    np.testing.assert_allclose(mean, [0.073099, 0.072020], atol=5.1e-7)
    np.testing.assert_allclose(model.drift_mean_std((nu_joint + beside) * model.g_max)[1], nu_expected, atol=5.1e-7)
    np.testing.assert_allclose(
        model.relative_read_noise((read_joint + beside) * model.g_max), read_expected, atol=5.1e-7
    )


def test_wan_2022_spreads(backend: Backend):
    table = {
        1.0: [0.348000, 1.556182, 2.258270, 2.022938, 1.532988, 1.313245, 1.103000],
        86400.0: [0.701000, 2.447319, 3.720758, 3.909000, 3.366477, 2.986431, 2.651000],
        172800.0: [0.782000, 2.410199, 3.663789, 3.929125, 3.374352, 2.976231, 2.677000],
    }
    r = np.array([0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0])
    for g_max in (25.0, 40.0):  # the fit was made at 40 microsiemens: spreads scale with g_max
        model = ai.ReRamWan2022NoiseModel(g_max=g_max)
        g, rtol = _double(backend, r * g_max)
        for age, expected in table.items():
            mine = backend.numpy(model.spread(g, age)).astype(float) * 40.0 / g_max
            np.testing.assert_allclose(mine, expected, atol=5.1e-7, rtol=rtol)


def test_wan_2022_between_ages():
    model = ai.ReRamWan2022NoiseModel(interpolate_ages=True)
    g = np.array([10.0])
    middle = model.spread(g, math.sqrt(86400.0))
    assert middle == pytest.approx(0.5 * (model.spread(g, 1.0) + model.spread(g, 86400.0)), rel=1e-12)


def test_cmo():
    g = np.array([9.0, 25.0, 50.0, 75.0, 88.2])
    narrow, wide = (ai.ReRamCMONoiseModel(acceptance_range=a).programming_std(g) for a in (0.002, 0.02))
    np.testing.assert_allclose(narrow, [0.010430, 0.027531, 0.054251, 0.080970, 0.095078], atol=5.1e-7)
    np.testing.assert_allclose(wide, [0.112831, 0.293475, 0.575732, 0.857989, 1.007021], atol=5.1e-7)
    table = {
        1.0: (0.000000, 0.411833, 0.170674),
        10.0: (-0.204935, 0.508568, 0.185043),
        3600.0: (-0.728810, 0.755851, 0.217502),
        86400.0: (-1.011664, 0.889366, 0.233157),
        3.1536e7: (-1.536767, 1.137229, 0.259729),
        3.1536e8: (-1.741701, 1.233963, 0.269389),
    }
    model = ai.ReRamCMONoiseModel()
    for t, (shift, spread, read) in table.items():
        assert model.relaxation(t) == (pytest.approx(shift, abs=5.1e-7), pytest.approx(spread, abs=5.1e-7))
        assert model.read_std(np.array([50.0]), t)[0] == pytest.approx(read, abs=5.1e-7)


def test_state_independent_read_noise():
    model = ai.StateIndependentNoiseModel()
    g = np.array([25.0, 12.5])
    np.testing.assert_allclose(model.read_std(g, g, 0.0), [4.183825, 2.0919125], atol=1e-6)
    np.testing.assert_allclose(model.programming_std(g), [0.2, 0.2])


def test_custom_drift_table(backend: Backend):
    table = {"g_lst": [0.0, 10.0, 25.0], "nu_mean_lst": [0.08, 0.05, 0.03], "nu_std_lst": [0.03, 0.02, 0.01]}
    model = ai.CustomDriftPCMLikeNoiseModel(table)
    g = backend.array(np.array([[0.0, 5.0, 10.0], [17.5, 25.0, 25.0001]], np.float32))
    mean, std = (backend.numpy(v) for v in model.drift_mean_std(g))
    np.testing.assert_allclose(mean, [[0.08, 0.065, 0.05], [0.04, 0.03, 0.03]], rtol=1e-6)
    np.testing.assert_allclose(std, [[0.03, 0.025, 0.02], [0.015, 0.01, 0.01]], rtol=1e-6)


def test_programming_error_scales_from_the_fit_to_g_max():
    assert ai.PCMLikeNoiseModel(g_max=50.0).programming_std(np.array([50.0])) == pytest.approx(2 * 1.05538)
    given = ai.PCMLikeNoiseModel([1.0, 1.0], g_max=50.0)
    assert given.programming_std(np.array([50.0])) == pytest.approx(2.0)
    both = ai.PCMLikeNoiseModel([1.0, 1.0], g_max=50.0, prog_coeff_g_max_reference=25.0)
    assert both.programming_std(np.array([50.0])) == pytest.approx(4.0)
    hermes = ai.HermesNoiseModel(g_max=10.35)
    assert hermes.programming_std(np.array([10.35])) == pytest.approx(0.5 * 1.09269857)


@pytest.mark.parametrize(
    ("g", "std"), [(0.5, 0.0), (0.6, 2.7129278), (52.5, 8.362283), (90.0, 8.4346307), (180.0, 19.1984491)]
)
def test_pcm_weight_noise(g: float, std: float) -> None:
    """The published cubics, evaluated in plain Python at the ends of each law; small targets are not programmed."""
    model = ai.PCMWeightNoiseModel()
    assert float(model.programming_std(np.array(g))) == pytest.approx(std, abs=1e-5)
    half = ai.PCMWeightNoiseModel(g_max=90.0)
    assert float(half.programming_std(np.array(g / 2.0))) == pytest.approx(std / 2.0, abs=1e-5)
    assert float(model.program_conductance(np.array(g), np.array(1.0))) == pytest.approx(g + std if std else 0.0)
    assert float(model.conductance_at(np.array(g), np.array(0.0), 1e6, np.array(1.0))) == g
