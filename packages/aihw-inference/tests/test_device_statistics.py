"""Sampled conductances against the reference's statistics, on every array library.

NumPy: per case 100 instances of 2000 devices for each target and time, as many devices as the reference. The comparison
rule of `reference.Comparison` then detects, at one entry, a shift of 1.6 % of the standard deviation and a standard
deviation off by 1.2 %; smaller errors of many entries are found through the mean of z^2. Other libraries: 100 instances
of 500, which detect 2.5 % and 1.8 %.
"""

from __future__ import annotations

import numpy as np
import pytest

from aihw_inference import Philox, ReRamCMONoiseModel
from aihw_inference.moments import rectified_normal

from .backends import Backend
from .reference import PERCENTILES, Comparison, cases, model_of, widened

CASES = cases("inference_conductance")


INSTANCES = 100


def _devices(backend: Backend) -> int:
    """Devices of an instance."""
    return 2000 if backend.name == "numpy" else 500


def _sampled(backend: Backend, name: str) -> dict[str, np.ndarray]:
    """Samples of one case: quantity -> array [(times,) instances, devices, targets]."""
    devices = _devices(backend)
    model, procedure = model_of(CASES[name]), CASES[name]["procedure"]
    n_targets = len(procedure["g_target"])
    targets = np.tile(widened(procedure["g_target"], CASES, "g_target"), (INSTANCES, devices, 1))
    g_target, rng = backend.array(targets), Philox(2024).fold(name)
    g_prog = model.apply_programming_noise_to_conductance(g_target, rng=rng)
    nu = model.generate_drift_coefficients(g_target, rng=rng)
    samples = {"programmed": backend.numpy(g_prog), "nu": backend.numpy(nu)}
    for key, start, repeat in (("drifted", g_prog, 0), ("drifted_from_target", g_target, 1)):
        reads = [
            model.apply_drift_noise_to_conductance(start, nu, t, rng=rng, repeat=repeat) for t in procedure["times"]
        ]
        samples[key] = np.stack([backend.numpy(read) for read in reads])
    assert np.array_equal(backend.numpy(g_target), targets)  # nothing is changed in place
    return {key: values[..., :n_targets] for key, values in samples.items()}


def _statistics(x: np.ndarray) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Statistic -> (value over all samples [...], values of the instances [instances, ...])."""
    x = np.moveaxis(x.astype(np.float64), -3, 0)  # [instances, (times,) devices, targets]
    pooled = np.concatenate(list(x), axis=-2)
    functions = {
        "mean": lambda v: v.mean(axis=-2),
        "std": lambda v: v.std(axis=-2, ddof=1),
        "percentiles": lambda v: np.moveaxis(np.percentile(v, PERCENTILES, axis=-2), 0, -2),
    }
    return {name: (function(pooled), np.stack([function(v) for v in x])) for name, function in functions.items()}


def test_reference_statistics(native_backend: Backend):
    comparison = Comparison()
    for name, case in CASES.items():
        ratio = INSTANCES * _devices(native_backend) / case["n"]
        is_cmo = name.startswith("cmo")
        for key, samples in _sampled(native_backend, name).items():
            if key == "nu" and is_cmo:
                continue  # we keep the relaxation's normal, the reference keeps the target
            for statistic, (value, instances) in _statistics(samples).items():
                if f"{key}_{statistic}" in case["stats"]:
                    unlike = is_cmo and key.startswith("drifted")
                    where = _not_clipped_at_once(value.shape) if unlike else ...
                    expected = case["stats"][f"{key}_{statistic}"]
                    comparison.add(
                        f"{name} {key}_{statistic}", value, instances, expected, sample_ratio=ratio, where=where
                    )
    comparison.check()


def _not_clipped_at_once(shape: tuple[int, ...]) -> np.ndarray:
    """All but the two ends of the range at t = 0, where the reference does not clip to the range and we do (Q13)."""
    where = np.ones(shape, bool)
    where[0, ..., [0, -1]] = False
    return where


def test_cmo_ends_of_the_range_at_once():
    """Clipped at 9 microsiemens: the closed form of max(N, 9). n = 200 000, 5 standard errors (1.1 % of sigma)."""
    model, n = ReRamCMONoiseModel(acceptance_range=0.002), 200_000
    g = np.full(n, 9.0)
    g_prog = model.apply_programming_noise_to_conductance(g, rng=3)
    read = model.apply_drift_noise_to_conductance(g_prog, g, 0.0, rng=3)
    mean, std = rectified_normal(0.0, float(model.programming_std(g)[0]))
    assert abs(read.mean() - 9.0 - mean) < 5.0 * std / np.sqrt(n)
    assert read.min() == 9.0


def test_relaxation_is_a_history():
    """The relaxation of a device is kept: without read noise, deviations at two times have correlation 1."""
    model = ReRamCMONoiseModel(read_noise_scale=0.0)
    g = np.full(1000, 50.0)
    g_prog = model.apply_programming_noise_to_conductance(g, rng=1)
    xi = model.generate_drift_coefficients(g, rng=1)
    early, late = (model.apply_drift_noise_to_conductance(g_prog, xi, t, rng=1) - g_prog for t in (10.0, 1e6))
    assert np.corrcoef(early, late)[0, 1] == pytest.approx(1.0, abs=1e-9)
    assert late.std() / early.std() == pytest.approx(model.relaxation(1e6)[1] / model.relaxation(10.0)[1])


def test_cmo_far_out_of_range_stays_finite():
    model = ReRamCMONoiseModel(drift_scale=1.5)
    g = np.full(100_000, 10.0)
    read = model.apply_drift_noise_to_conductance(g, np.linspace(-6, 6, g.size), 3.15e8, rng=0)
    assert np.all((read >= 9.0) & (read <= 88.2))
