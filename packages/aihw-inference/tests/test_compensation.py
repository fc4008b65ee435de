"""Drift compensation: reference values of alpha, closed forms, noise floors, shapes."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import aihw_inference as ai
from aihw_inference import PCMLikeNoiseModel, Philox, program, read_compensated, scale_outputs
from aihw_inference.compensation import ideal_forward
from aihw_inference.drift import log_time_ratio
from aihw_inference.errors import ConfigError, ShapeError
from aihw_inference.moments import drift_factor

from .backends import Backend
from .reference import Comparison, cases, model_of

CASES = cases("inference_compensation")


def _case_weights(shape: dict) -> np.ndarray:
    o, i = np.meshgrid(np.arange(shape["out"]), np.arange(shape["in"]), indexing="ij")
    return (np.sin(0.37 + 12.9898 * o + 78.233 * i) * np.cos(1.3 * o + 4.1 * i)).astype(np.float32)


def test_reference_alphas():
    """200 tiles (reference: 100) on its stored-weights path (quirks Q1, Q2). The comparison needs 5 combined standard
    errors: 0.6 of the standard deviation of alpha over tiles, which is 0.1 to 2 % of alpha.
    """
    comparison = Comparison()
    for name, case in CASES.items():
        weights = _case_weights(case["procedure"]["weights"])
        compensation = getattr(ai, case["config"]["drift_compensation"])()
        alphas = []
        for tile in range(200):
            state = program(weights, model_of(case), rng=Philox(31).fold(name, tile), reference_compat=True)
            baseline = compensation.init_baseline(ideal_forward(state.programmed_weights()), weights)
            alphas.append(
                [
                    np.atleast_1d(compensation.alpha(ideal_forward(state.weights_at(t)), baseline, weights))
                    for t in case["procedure"]["times"]
                ]
            )
        all_alphas = np.array(alphas, np.float64)
        comparison.add(name, all_alphas.mean(axis=0), all_alphas, case["stats"]["alpha_mean"], sample_ratio=2.0)
        groups = all_alphas.reshape(20, 10, *all_alphas.shape[1:]).std(axis=1, ddof=1)
        comparison.add(
            f"{name} std", all_alphas.std(axis=0, ddof=1), groups, case["stats"]["alpha_std"], sample_ratio=2.0
        )
    comparison.check()


def test_equal_weights_need_the_inverse_of_the_mean_drift(backend: Backend):
    """alpha -> 1 / E f; n = 250 000 devices of one level, 5 standard errors (0.03 %)."""
    weights = np.where(np.random.default_rng(0).random((500, 500)) < 0.5, -1.0, 1.0).astype(np.float32)
    model = PCMLikeNoiseModel(prog_noise_scale=0.0, read_noise_scale=0.0)
    state = program(backend.array(weights), model, rng=1)
    factor, spread = drift_factor(0.049, 0.008, log_time_ratio(86400.0, 20.0))
    error = 5.0 * spread / factor / 500.0
    for estimator in ("mean_abs", "rms", "least_squares"):
        read = read_compensated(state, 86400.0, ai.GlobalDriftCompensation(estimator))
        # rms and least squares see the second moment of f as well
        square = (spread / factor) ** 2
        bias = {"mean_abs": 1.0, "rms": 1.0 / np.sqrt(1.0 + square), "least_squares": 1.0 / (1.0 + square)}[estimator]
        assert float(read.alpha) * factor / bias == pytest.approx(1.0, abs=error + 1e-5)
        np.testing.assert_allclose(
            backend.numpy(read.compensated), backend.numpy(read.weights) * float(read.alpha), rtol=1e-6
        )


@pytest.mark.parametrize("estimator", ["mean_abs", "rms", "least_squares", "median"])
def test_many_chips_at_once(backend: Backend, estimator: str):
    """The chips' alphas are those of single chips; per-column alphas belong to the rows of the weights."""
    weights = np.random.default_rng(0).normal(size=(6, 40)).astype(np.float32)
    state = program(backend.array(weights), PCMLikeNoiseModel(), rng=1, n_chips=3)
    programmed, drifted = backend.numpy(state.programmed_weights()), backend.numpy(state.weights_at(1e5))
    small = (np.abs(programmed) < 1e-4) | (np.abs(drifted) < 1e-4)
    ratio = np.where(small, np.nan, programmed / np.where(small, 1.0, drifted))
    for cls, axes in ((ai.GlobalDriftCompensation, (1, 2)), (ai.PerColumnDriftCompensation, (2,))):
        read = read_compensated(state, 1e5, cls(estimator))
        expected = {
            "mean_abs": np.abs(programmed).mean(axes) / np.abs(drifted).mean(axes),
            "rms": np.sqrt((programmed**2).mean(axes) / (drifted**2).mean(axes)),
            "least_squares": (programmed * drifted).mean(axes) / (drifted**2).mean(axes),
            "median": np.nanmedian(ratio, axes),
        }[estimator]
        np.testing.assert_allclose(backend.numpy(read.alpha), expected, rtol=1e-5)
        shape = expected.shape + (1,) * (3 - expected.ndim)
        np.testing.assert_allclose(backend.numpy(read.compensated), drifted * expected.reshape(shape), rtol=1e-5)


def test_no_drift_needs_no_compensation():
    weights = np.random.default_rng(0).normal(size=(20, 30))
    quiet = PCMLikeNoiseModel(drift_scale=0.0, read_noise_scale=0.0)
    state = program(weights, quiet, rng=1)
    assert float(read_compensated(state, 1e6, ai.GlobalDriftCompensation()).alpha) == 1.0
    exact = ai.GlobalDriftCompensationWithExactReference()
    expected = np.abs(weights).mean() / np.abs(state.programmed_weights()).mean()
    assert float(read_compensated(state, 1e6, exact).alpha) == pytest.approx(expected, rel=1e-12)
    perfect = program(weights, PCMLikeNoiseModel(None, None, None, 250e-9, 20.0, 0.0, 0.0, 0.0), rng=1)
    assert float(read_compensated(perfect, 1e6, exact).alpha) == pytest.approx(1.0, rel=1e-12)


def test_noise_floor_is_removed():
    """Weights smaller than the output noise, halved by drift: mean |y| sees the noise and gives far less than 2, the
    corrected estimators 2. Means of 40 repeats with 40 000 outputs, 5 standard errors (0.02 to 0.08) plus 0.01 for the
    estimators' own bias, which is the relative variance of one estimate.
    """
    rng = np.random.default_rng(0)
    weights, noise = rng.normal(0.0, 0.05, (200, 200)), 0.06

    def forward(w: np.ndarray):
        return lambda x: x @ w.T + rng.normal(0.0, noise, (x.shape[0], w.shape[0]))

    alphas: dict[str, list[float]] = {}
    for estimator in ("mean_abs", "rms", "least_squares"):
        for n_reads in (1, 4):
            compensation = ai.GlobalDriftCompensation(estimator, noise, n_reads)
            for _ in range(40):
                baseline = compensation.init_baseline(forward(weights), weights)
                alpha = compensation.alpha(forward(0.5 * weights), baseline, weights)
                alphas.setdefault(f"{estimator} {n_reads}", []).append(float(alpha))
    mean = {name: np.mean(values) for name, values in alphas.items()}
    assert mean["mean_abs 1"] == pytest.approx(np.hypot(0.05, noise) / np.hypot(0.025, noise), abs=0.01)
    assert mean["mean_abs 1"] < 1.25
    assert mean["mean_abs 1"] < mean["mean_abs 4"] < 1.7
    for name in ("rms 1", "rms 4", "least_squares 1", "least_squares 4"):
        assert mean[name] == pytest.approx(2.0, abs=5.0 * np.std(alphas[name]) / np.sqrt(40) + 0.01), name
    assert np.std(alphas["least_squares 4"]) < np.std(alphas["least_squares 1"])


def test_a_median_is_not_moved_by_broken_devices():
    """Weights halved by drift, 10 % of them stuck, and a row of zeros: the median says 2, the mean does not."""
    weights = np.random.default_rng(0).normal(size=(11, 30))
    weights[3] = 0.0
    drifted = 0.5 * weights
    drifted[:, :3] = 5.0
    alpha = {}
    for estimator in ("median", "mean_abs"):
        compensation = ai.GlobalDriftCompensation(estimator)
        baseline = compensation.init_baseline(ideal_forward(weights), weights)
        alpha[estimator] = float(compensation.alpha(ideal_forward(drifted), baseline, weights))
    assert alpha["median"] == pytest.approx(2.0, rel=1e-12)
    assert alpha["mean_abs"] < 1.5
    columns = ai.PerColumnDriftCompensation("median")
    baseline = columns.init_baseline(ideal_forward(weights), weights)
    found = columns.alpha(ideal_forward(drifted), baseline, weights)
    np.testing.assert_allclose(np.delete(found, 3), 2.0)
    assert found[3] == 1.0


def test_random_probes(backend: Backend):
    """Signs, the same on every library and each time; two of them find the drift of equal factors exactly."""
    weights = np.random.default_rng(0).normal(size=(6, 40)).astype(np.float32)
    compensation = ai.GlobalDriftCompensation("least_squares", n_reads=2, n_random_probes=2)
    probe = compensation.get_readout_tensor(40, like=backend.array(weights))
    assert set(np.unique(backend.numpy(probe))) == {-1.0, 1.0}
    assert np.array_equal(backend.numpy(probe), compensation.get_readout_tensor(40, like=weights))
    assert tuple(probe.shape) == (4, 40)
    held = backend.array(weights)
    baseline = compensation.init_baseline(ideal_forward(held), held)
    assert float(compensation.alpha(ideal_forward(held * 0.5), baseline, held)) == pytest.approx(2.0, rel=1e-6)


def test_readouts_have_a_floor():
    compensation = ai.GlobalDriftCompensation()
    assert float(compensation.readout(np.zeros((4, 3)))) == 1e-4
    assert float(compensation.apply(np.zeros((4, 3)), np.asarray(0.5))) == pytest.approx(5000.0)


def test_scaling_outputs_along_the_channel_axis(backend: Backend):
    y = np.ones((2, 7, 7, 7), np.float32)
    alpha = np.arange(1, 8, dtype=np.float32)
    channel_first = backend.numpy(scale_outputs(backend.array(y), backend.array(alpha), axis=1))
    assert np.array_equal(channel_first[0, :, 0, 0], alpha)
    assert np.array_equal(channel_first[0, 0, 0, :], np.ones(7))
    last = backend.numpy(scale_outputs(backend.array(y), backend.array(alpha)))
    assert np.array_equal(last[0, 0, 0, :], alpha)
    scalar = backend.numpy(scale_outputs(backend.array(y), backend.array(np.float32(2.0))))
    assert np.array_equal(scalar, 2 * y)
    with pytest.raises(ShapeError, match="axis 1"):
        scale_outputs(backend.array(y[:, :5]), backend.array(alpha), axis=1)


class FewProbes(ai.BaseDriftCompensation):
    """A compensation of one's own: one probe of ones, median of the outputs."""

    def get_readout_tensor(self, in_size, *, like):
        return np.ones((1, in_size), like.dtype)

    def readout(self, out_tensor):
        return np.median(np.abs(out_tensor), axis=(-2, -1))


def test_a_compensation_of_ones_own():
    weights = np.random.default_rng(0).normal(size=(21, 30))
    state = program(weights, PCMLikeNoiseModel(read_noise_scale=0.0, prog_noise_scale=0.0), rng=1)
    read = read_compensated(state, 1e5, FewProbes())
    assert np.median(np.abs(read.compensated.sum(axis=1))) == pytest.approx(np.median(np.abs(weights.sum(axis=1))))


def test_bad_arguments():
    with pytest.raises(ConfigError, match="estimator"):
        ai.GlobalDriftCompensation("mode")
    for bad in ({"out_noise": -1.0}, {"n_reads": 0}, {"n_random_probes": -1}):
        with pytest.raises(ConfigError, match="n_reads"):
            ai.GlobalDriftCompensation(**bad)
    with pytest.raises(ShapeError, match="n_reads=2"):
        ai.GlobalDriftCompensation(n_reads=2).readout(np.zeros((3, 4)))
    with pytest.raises(ShapeError, match="baseline"):
        ai.GlobalDriftCompensation("least_squares").apply(np.zeros((3, 4)), np.zeros((4, 4)))
    state = program(np.zeros(5), PCMLikeNoiseModel(), rng=1)
    with pytest.raises(ShapeError, match="weight matrix"):
        read_compensated(state, 0.0, ai.GlobalDriftCompensation())
    with pytest.raises(dataclasses.FrozenInstanceError):
        ai.GlobalDriftCompensation().n_reads = 3
