"""Weights after programming and reading, against the reference's statistics and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

import aihw_inference as ai
from aihw_inference import PCMLikeNoiseModel, Philox, program
from aihw_inference.drift import log_time_ratio
from aihw_inference.moments import drift_factor, folded_normal, rectified_normal

from .backends import Backend
from .reference import Comparison, cases, model_of

CASES = cases("inference_weights")
ONE_SHOT = [name for name, case in CASES.items() if "one_shot_mean" in case["stats"]]


def _moments(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and std over identical rows of one instance: [..., rows, columns] -> [..., columns]."""
    return rows.mean(axis=-2), rows.std(axis=-2, ddof=1)


def test_reference_one_shot(native_backend: Backend):
    """Encode, program, drift, read and decode on the same conductances: 86 chips of 500 identical rows (reference:
    10 of 4000). Detects at one entry a shift of 3.5 % of sigma and a sigma off by 2.5 % (5 combined errors).

    86 chips of two pairs are two equal blocks: JAX compiles every operation for every shape, and so does it once.
    """
    comparison = Comparison()
    for name in ONE_SHOT:
        procedure, stats = CASES[name]["procedure"], CASES[name]["stats"]
        weights = np.tile(np.array(procedure["w_target"], np.float32), (500, 1))
        chips = program(native_backend.array(weights), model_of(CASES[name]), rng=Philox(17).fold(name), n_chips=86)
        programmed = _moments(native_backend.numpy(chips.programmed_weights()).astype(np.float64))
        reads = native_backend.numpy(chips.weights_at(procedure["one_shot_times"])).astype(np.float64)
        one_shot = [np.moveaxis(m, 0, 1) for m in _moments(reads)]  # [chips, times, columns]
        for i, kind in enumerate(("mean", "std")):
            for key, mine in (("programmed", programmed[i]), ("one_shot", one_shot[i])):
                comparison.add(
                    f"{name} {key}_{kind}", mine.mean(axis=0), mine, stats[f"{key}_{kind}"], sample_ratio=1.0
                )
    comparison.check()


def test_reference_two_phases():
    """The reference's stored-weights path (quirks Q1, Q2, Q8): 40 tiles of 4000 x 12."""
    comparison = Comparison()
    for name, case in CASES.items():
        procedure, stats, model = case["procedure"], case["stats"], model_of(case)
        weights = np.tile(np.array(procedure["w_target"], np.float32), (4000, 1))
        drifted = []
        for tile in range(40):
            state = program(weights, model, rng=Philox(23).fold(name, tile), reference_compat=True)
            drifted.append([_moments(state.weights_at(t).astype(np.float64)) for t in procedure["times"]])
        for i, kind in enumerate(("mean", "std")):
            mine = np.stack([[d[i] for d in tile] for tile in drifted])
            where = np.ones(mine.shape[1:], bool)
            if isinstance(model, ai.ReRamCMONoiseModel):
                where[0] = False  # t = 0: the reference does not clip to the range (Q13)
            comparison.add(
                f"{name} two_phase_{kind}",
                mine.mean(axis=0),
                mine,
                stats[f"two_phase_{kind}"],
                sample_ratio=4.0,
                where=where,
            )
    comparison.check()


def test_programmed_weight_closed_forms(native_backend: Backend):
    """Zero and full-range weight of a PCM pair, n = 400 000: means and standard deviations within 5 standard errors
    (detects 0.8 % of sigma in the mean, 0.6 % in sigma; false alarm 2e-6), with both kinds of generator.
    """
    n, sigma_0, sigma_1 = 400_000, 0.26348, 1.05538
    weights = np.zeros((n, 2), np.float32)
    weights[:, 1] = 1.0
    mean_0, std_0 = rectified_normal(0.0, sigma_0)
    expected = {
        0: (0.0, np.sqrt(2.0) * std_0),
        1: (25.0 - mean_0, np.hypot(sigma_1, std_0)),
    }
    for rng in (Philox(5), ai.Native(5)):
        state = program(native_backend.array(weights), PCMLikeNoiseModel(), rng=rng)
        w = native_backend.numpy(state.programmed_weights()).astype(np.float64) * 25.0
        for column, (mean, std) in expected.items():
            assert abs(w[:, column].mean() - mean) < 5.0 * std / np.sqrt(n)
            assert abs(w[:, column].std() / std - 1.0) < 5.0 * np.sqrt(0.75 / n)  # kurtosis of the difference <= 3.9
    assert expected[0][1] == pytest.approx(0.217541, abs=5e-7)
    assert mean_0 / 25.0 == pytest.approx(0.0042045, abs=5e-8)


MODELS = {
    "PCM": PCMLikeNoiseModel(),
    "HERMES 1": ai.HermesNoiseModel(num_devices=1),
    "HERMES 2": ai.HermesNoiseModel(),
    "state independent": ai.StateIndependentNoiseModel(),
    "custom drift": ai.CustomDriftPCMLikeNoiseModel(
        {"g_lst": [0, 10, 25], "nu_mean_lst": [0.08, 0.05, 0.03], "nu_std_lst": [0.03, 0.02, 0.01]}
    ),
}


@pytest.mark.parametrize("name", list(MODELS))
def test_device_closed_forms(native_backend: Backend, name: str):
    """Rectified programming error, folded exponent, drift factor and conditional read mean at five levels and three
    times, n = 100 000 each: |z| < 5 for means (detects 1.6 % of sigma; false alarm 6e-7 an entry, 4e-5 a case).
    """
    model, n = MODELS[name], 100_000
    r = np.array([0.0, 0.05, 0.25, 0.5, 1.0])
    grid = np.tile(r * model.g_max, (n, 1)).astype(np.float32)
    g_target = native_backend.array(grid)
    rng = Philox(99).fold(name)
    g_prog = native_backend.numpy(model.apply_programming_noise_to_conductance(g_target, rng=rng)).astype(float)
    nu = native_backend.numpy(model.generate_drift_coefficients(g_target, rng=rng)).astype(float)
    sigma = model.programming_std(r * model.g_max)
    mu_nu, sigma_nu = model.drift_mean_std(r * model.g_max)
    for i in range(len(r)):
        _within(g_prog[:, i], *rectified_normal(r[i] * model.g_max, sigma[i]))
        _within(nu[:, i], *folded_normal(mu_nu[i], sigma_nu[i]))
        for t in (0.0, 3600.0, 3.1536e7):
            factor, spread = drift_factor(mu_nu[i], sigma_nu[i], log_time_ratio(t, model.t_0))
            sampled = (1.0 + t / model.t_0) ** -nu[:, i]
            _within(sampled, factor, spread) if t else None
    exact = native_backend.array(grid)
    for t in (0.0, 3600.0, 3.1536e7):
        read = model.apply_drift_noise_to_conductance(exact, native_backend.array(nu.astype(np.float32)), t, rng=rng)
        read = native_backend.numpy(read).astype(float)
        for i in range(1, len(r)):
            g = r[i] * model.g_max
            factor, spread = drift_factor(mu_nu[i], sigma_nu[i], log_time_ratio(t, model.t_0))
            relative = float(model.read_std(np.array([g]), np.array([1.0]), t)[0])
            noise, noise_std = rectified_normal(1.0, relative)
            std = np.sqrt((factor**2 + spread**2) * (noise**2 + noise_std**2) - (factor * noise) ** 2)
            _within(read[:, i] / g, factor * noise, std)


def _within(samples: np.ndarray, mean: float, std: float) -> None:
    assert abs(samples.mean() - mean) <= 5.0 * std / np.sqrt(samples.size) + 1e-6 * abs(mean)


def test_end_to_end_table():
    """Published sample means of a single PCM pair, 2e4 samples for each weight; their error is std / 141, ours
    std / 447, so the bound of 5 errors detects 3.7 % of a standard deviation. Only rows without drift: the later ones
    carry the reference's re-normalisation.
    """
    w = np.array([1.0, 0.8, 0.5, 0.25, 0.1, 0.02, 0.0])
    mean = np.array([0.9961, 0.7959, 0.4957, 0.2454, 0.0958, 0.0161, 0.0000])
    std = np.array([0.0426, 0.0440, 0.0390, 0.0278, 0.0191, 0.0130, 0.0087])
    state = program(np.tile(w, (200_000, 1)), PCMLikeNoiseModel(), rng=8)
    programmed = state.programmed_weights()
    error = std * np.hypot(1 / 141, 1 / 447)
    assert np.all(np.abs(programmed.mean(axis=0) - mean) < 5.0 * error + 5e-5)
    assert np.all(np.abs(programmed.std(axis=0) - std) < 5.0 * error / np.sqrt(2) * 1.2 + 5e-5)


def test_wan_2022_correlated_ages():
    """With correlated ages the deviation of a device grows with the spread, and t = 1 s is the programmed state."""
    model = ai.ReRamWan2022NoiseModel(correlated_ages=True)
    weights = np.full(10_000, 0.5)
    state = program(weights, model, rng=4, w_max=1.0)
    start, day = state.conductances_at([0.0, 86400.0])
    np.testing.assert_allclose(start, state.g_prog, rtol=1e-6, atol=1e-9)
    free = (start[0] > 0) & (day[0] > 0)
    ratio = (day[0] - 12.5)[free] / (start[0] - 12.5)[free]
    np.testing.assert_allclose(ratio, 3.909000 / 2.022938, rtol=1e-5)
    independent = program(weights, ai.ReRamWan2022NoiseModel(), rng=4, w_max=1.0).conductances_at([1.0, 86400.0])
    correlation = np.corrcoef(independent[0][0], independent[1][0])[0, 1]
    assert abs(correlation) < norm.isf(1e-6) / np.sqrt(weights.size)
