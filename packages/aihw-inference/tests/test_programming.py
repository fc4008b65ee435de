"""Programmed arrays: immutability, independence of blocks, order and library, streams, times, scales, edge cases."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import tracemalloc
from itertools import pairwise

import numpy as np
import pytest

import aihw_inference as ai
from aihw_inference import Native, PCMLikeNoiseModel, Philox, arrays, program
from aihw_inference.errors import (
    BackendError,
    ConductanceError,
    ConfigError,
    DtypeError,
    NonFiniteError,
    ShapeError,
    TimeError,
)

from .backends import Backend, backend_named

WEIGHTS = np.random.default_rng(0).normal(0.0, 0.2, (7, 30)).astype(np.float32)

CUSTOM_DRIFT = {"g_lst": [0, 10, 25], "nu_mean_lst": [0.08, 0.05, 0.03], "nu_std_lst": [0.03, 0.02, 0.01]}
MODELS = {
    "PCM": PCMLikeNoiseModel(),
    "PCM dual pair": PCMLikeNoiseModel(g_converter=ai.DualPairConductanceConverter([1.0, 3.0])),
    "PCM custom pair": PCMLikeNoiseModel(
        g_converter=ai.CustomPairConductanceConverter([1.0], [[2, 2, 2, 11, 20], [20, 11, 2, 2, 2]], g_max=20, g_min=2)
    ),
    "custom drift": ai.CustomDriftPCMLikeNoiseModel(CUSTOM_DRIFT),
    "state independent": ai.StateIndependentNoiseModel(),
    "HERMES": ai.HermesNoiseModel(),
    "Wan": ai.ReRamWan2022NoiseModel(interpolate_ages=True),
    "CMO": ai.ReRamCMONoiseModel(),
}


@pytest.mark.parametrize("name", list(MODELS))
def test_same_results_on_every_library(backend: Backend, name: str):
    """Same draws on NumPy; results to 1e-5 of the weights' range."""
    expected = program(WEIGHTS, MODELS[name], rng=3, n_chips=4)
    mine = program(backend.array(WEIGHTS), MODELS[name], rng=3, n_chips=4)
    scale = np.abs(WEIGHTS).max()
    for t in (0.0, 3600.0):
        assert np.abs(backend.numpy(mine.weights_at(t)) - expected.weights_at(t)).max() < 1e-5 * scale
    np.testing.assert_allclose(backend.numpy(mine.g_prog), expected.g_prog, rtol=1e-5, atol=1e-5 * 25)
    np.testing.assert_allclose(
        backend.numpy(mine.drift_coefficients), expected.drift_coefficients, rtol=1e-5, atol=1e-6
    )
    assert mine.weights_at([0.0, 60.0]).shape == (2, 4, 7, 30)
    assert mine.conductances_at([0.0, 60.0]).shape == (2, mine.g_prog.shape[0], 4, 7, 30)


def test_float64_is_kept(backend: Backend):
    if backend.name == "jax":
        return  # has no float64 by default
    state = program(backend.array(WEIGHTS.astype(np.float64)), PCMLikeNoiseModel(), rng=3)
    w = backend.numpy(state.weights_at(60.0))
    assert w.dtype == np.float64
    np.testing.assert_allclose(w, program(WEIGHTS, PCMLikeNoiseModel(), rng=3).weights_at(60.0), atol=1e-5)


@pytest.mark.parametrize("rng", [Philox(1), Native(1)], ids=["philox", "native"])
def test_weights_are_not_changed_and_calls_are_repeatable(native_backend: Backend, rng):
    weights = native_backend.array(WEIGHTS)
    state = program(weights, PCMLikeNoiseModel(), rng=rng, n_chips=2)
    first = native_backend.numpy(state.weights_at(60.0)).copy()
    state.weights_at(1e6)
    state.programmed_weights()
    assert np.array_equal(native_backend.numpy(weights), WEIGHTS)
    assert np.array_equal(native_backend.numpy(state.weights_at(60.0)), first)
    again = program(weights, PCMLikeNoiseModel(), rng=rng, n_chips=2)
    assert np.array_equal(native_backend.numpy(again.weights_at(60.0)), first)


def test_the_state_is_apart_from_its_arguments():
    weights, model = WEIGHTS.copy(), PCMLikeNoiseModel()
    state = program(weights, model, rng=1)
    before = state.weights_at(60.0)
    weights[:] = 0.0
    model.read_noise_scale = 0.0
    assert np.array_equal(state.weights_at(60.0), before)
    assert np.array_equal(state.weights, WEIGHTS)
    with pytest.raises(dataclasses.FrozenInstanceError):
        state.g_prog = weights


def test_a_programmed_state_cannot_be_changed():
    """Neither its arrays nor its noise model; a copy of the model can, and reads the same devices otherwise."""
    state = program(WEIGHTS, PCMLikeNoiseModel(), rng=1)
    before = state.weights_at(60.0)
    for values in (state.weights, state.g_prog, state.drift_coefficients, state.parameters.scale_ratio):
        with pytest.raises(ValueError, match="read-only"):
            values[...] = 0.0
    with pytest.raises(ConfigError, match="programmed devices cannot be changed"):
        state.noise_model.read_noise_scale = 0.0
    assert state.noise_model == PCMLikeNoiseModel()
    other = copy.copy(state.noise_model)
    other.read_noise_scale = 0.0
    quiet = dataclasses.replace(state, noise_model=other)
    assert not np.array_equal(quiet.weights_at(60.0), before)
    assert np.array_equal(quiet.weights_at(60.0, repeat=1), quiet.weights_at(60.0))
    assert np.array_equal(state.weights_at(60.0), before)
    assert before.flags.writeable


def test_reference_compat_encodes_programmed_weights_anew(backend: Backend):
    """Same weights after programming; then the range is that of their maximum and one device of each pair is empty."""
    weights = backend.array(WEIGHTS)
    kept, anew = (program(weights, PCMLikeNoiseModel(), rng=1, reference_compat=flag) for flag in (False, True))
    programmed = backend.numpy(kept.programmed_weights())
    np.testing.assert_allclose(backend.numpy(anew.programmed_weights()), programmed, atol=1e-6)
    g_prog = backend.numpy(anew.g_prog)
    assert g_prog.max() == pytest.approx(25.0, rel=1e-6)
    assert (g_prog.min(axis=0) == 0.0).all()
    assert (backend.numpy(kept.g_prog).min(axis=0) > 0.0).any()
    np.testing.assert_array_equal(backend.numpy(anew.drift_coefficients), backend.numpy(kept.drift_coefficients))
    assert float(anew.parameters.scale_ratio) == pytest.approx(25.0 / np.abs(programmed).max(), rel=1e-6)
    with pytest.raises(ConfigError, match="leave out n_chips"):
        program(weights, PCMLikeNoiseModel(), rng=1, n_chips=2, reference_compat=True)


def test_copies_and_pickles_read_the_same():
    state = program(WEIGHTS, ai.ReRamCMONoiseModel(), rng=1)
    for other in (copy.deepcopy(state), pickle.loads(pickle.dumps(state))):
        assert np.array_equal(other.weights_at(60.0), state.weights_at(60.0))


def test_gradients_stay_out():
    torch = backend_named("torch")
    weights = torch.array(WEIGHTS).requires_grad_()
    read = program(weights, PCMLikeNoiseModel(), rng=1).weights_at(60.0)
    assert not read.requires_grad
    assert weights.requires_grad


def test_jit_of_a_read():
    backend = backend_named("jax")
    import jax

    state = program(backend.array(WEIGHTS), PCMLikeNoiseModel(), rng=1)

    @jax.jit
    def read(g_prog, nu):
        return dataclasses.replace(state, g_prog=g_prog, drift_coefficients=nu).weights_at(3600.0)

    compiled = np.asarray(read(state.g_prog, state.drift_coefficients))
    np.testing.assert_allclose(compiled, state.weights_at(3600.0), atol=1e-5 * np.abs(WEIGHTS).max())


@pytest.mark.parametrize("block", [64, 128, 1 << 20])
def test_results_do_not_depend_on_blocks(monkeypatch: pytest.MonkeyPatch, block: int):
    weights = np.random.default_rng(1).normal(size=(11, 97)).astype(np.float32)
    expected = program(weights, PCMLikeNoiseModel(), rng=5, n_chips=3, w_max=np.full((11, 1), 2.0))
    reads = expected.weights_at(60.0), expected.conductances_at(60.0), expected.programmed_weights()
    monkeypatch.setattr(arrays, "CACHED_BLOCK", block)
    state = program(weights, PCMLikeNoiseModel(), rng=5, n_chips=3, w_max=np.full((11, 1), 2.0))
    for mine, theirs in zip(
        (state.weights_at(60.0), state.conductances_at(60.0), state.programmed_weights()), reads, strict=True
    ):
        assert np.array_equal(mine, theirs)


def test_a_chip_does_not_depend_on_the_others():
    five, one = (program(WEIGHTS, PCMLikeNoiseModel(), rng=9, n_chips=n) for n in (5, 1))
    assert np.array_equal(five.weights_at(60.0)[0], one.weights_at(60.0)[0])
    single = program(WEIGHTS, PCMLikeNoiseModel(), rng=9)
    assert np.array_equal(single.weights_at(60.0), one.weights_at(60.0)[0])
    errors = five.programmed_weights() - WEIGHTS
    correlations = np.corrcoef(errors.reshape(5, -1))[np.triu_indices(5, 1)]
    assert np.abs(correlations).max() < 5.0 / np.sqrt(WEIGHTS.size)  # 5 standard errors


def test_streams_are_separate():
    """Switching one effect off leaves the draws of the others."""
    full = program(WEIGHTS, PCMLikeNoiseModel(), rng=2)
    quiet = program(WEIGHTS, PCMLikeNoiseModel(prog_noise_scale=0.0, read_noise_scale=0.0), rng=2)
    assert np.array_equal(full.drift_coefficients, quiet.drift_coefficients)
    no_drift = program(WEIGHTS, PCMLikeNoiseModel(drift_scale=0.0, read_noise_scale=0.0), rng=2)
    assert np.array_equal(full.g_prog, no_drift.g_prog)
    assert np.array_equal(no_drift.weights_at(1e7), no_drift.programmed_weights())
    everything_off = program(WEIGHTS, PCMLikeNoiseModel(None, None, None, 250e-9, 20.0, 0.0, 0.0, 0.0), rng=2)
    np.testing.assert_allclose(everything_off.weights_at(1e7), WEIGHTS, atol=1e-7)


def test_reads_at_other_times_are_independent_and_repeats_too():
    """n = 40 000: read deviations at two times and of two repeats have |correlation| < 5 / sqrt(n) (false alarm 6e-7).

    The exponents are the same: without read noise a device keeps its exponent.
    """
    weights = np.full((200, 200), 0.5, np.float32)
    state = program(weights, PCMLikeNoiseModel(drift_scale=0.0), rng=3, w_max=1.0)
    base = state.programmed_weights()
    deviations = [state.weights_at(t, repeat=repeat) - base for t, repeat in ((1.0, 0), (2.0, 0), (1.0, 1))]
    for i, j in ((0, 1), (0, 2), (1, 2)):
        assert abs(np.corrcoef(deviations[i].ravel(), deviations[j].ravel())[0, 1]) < 5.0 / 200.0
    quiet = program(weights, PCMLikeNoiseModel(read_noise_scale=0.0), rng=3, w_max=1.0)
    early, late = (np.log(quiet.g_prog[0] / quiet.conductances_at(t)[0]) for t in (1e3, 1e6))
    np.testing.assert_allclose(late / early, np.log1p(1e6 / 20) / np.log1p(1e3 / 20), rtol=1e-3)


def test_means_fall_with_time():
    state = program(WEIGHTS, PCMLikeNoiseModel(read_noise_scale=0.0), rng=3)
    sums = [np.abs(w).sum() for w in state.weights_at([0.0, 1.0, 60.0, 3600.0, 86400.0, 1e7])]
    assert all(late < early for early, late in pairwise(sums))


def test_scale_per_output(backend: Backend):
    """A w_max per row programs each row as a matrix of its own; larger weights saturate."""
    w_max = np.abs(WEIGHTS).max(axis=1, keepdims=True)
    quiet = PCMLikeNoiseModel(prog_noise_scale=0.0, read_noise_scale=0.0, drift_scale=0.0)
    state = program(backend.array(WEIGHTS), quiet, rng=1, w_max=backend.array(w_max))
    np.testing.assert_allclose(backend.numpy(state.g_target).max(axis=(0, 2)), 25.0, rtol=1e-6)
    np.testing.assert_allclose(backend.numpy(state.weights_at(1.0)), WEIGHTS, atol=1e-7)
    saturated = program(backend.array(WEIGHTS), quiet, rng=1, w_max=0.1).weights_at(1.0)
    np.testing.assert_allclose(backend.numpy(saturated), np.clip(WEIGHTS, -0.1, 0.1), atol=1e-7)


def test_single_device_with_a_symmetric_scale():
    quiet = ai.ReRamCMONoiseModel(prog_noise_scale=0.0)
    state = program(WEIGHTS, quiet, rng=1, w_max=1.0)
    np.testing.assert_allclose(state.g_target[0], 48.5999985 + 39.5999985 * WEIGHTS, rtol=1e-6)
    np.testing.assert_allclose(state.programmed_weights(), WEIGHTS, atol=1e-6)


@pytest.mark.parametrize("name", list(MODELS))
@pytest.mark.parametrize("values", [np.zeros((0, 4)), np.zeros((2, 3)), np.full((2, 2), -0.7), [[0.3]], 0.5], ids=str)
def test_edge_cases(name: str, values):
    weights = np.array(values, np.float32)
    for n_chips in (None, 2):
        state = program(weights, MODELS[name], rng=1, n_chips=n_chips)
        read = state.weights_at([0.0, 100.0])
        assert read.shape == (2, *(() if n_chips is None else (n_chips,)), *weights.shape)
        assert np.all(np.isfinite(read))


def test_integer_weights_and_times_of_any_kind():
    state = program(np.array([[-2, 0, 1]]), PCMLikeNoiseModel(), rng=1)
    assert state.weights.dtype == np.float64
    reads = [state.weights_at(t) for t in (60, 60.0, np.float32(60), np.array(60.0))]
    assert all(np.array_equal(read, reads[0]) for read in reads)
    assert np.array_equal(state.weights_at(np.array([60.0]))[0], reads[0])


def test_times_as_an_array_of_any_library(backend: Backend):
    state = program(backend.array(WEIGHTS), PCMLikeNoiseModel(), rng=1)
    read = backend.numpy(state.weights_at(backend.array(np.array([3600.0, 1.0], np.float32))))
    assert np.array_equal(read, backend.numpy(state.weights_at([3600.0, 1.0])))


def test_apply_noise_and_its_two_parts():
    model = PCMLikeNoiseModel()
    noisy, state = model.apply_programming_noise(WEIGHTS, rng=4)
    assert np.array_equal(noisy, state.programmed_weights())
    drifted = model.apply_drift_noise(noisy, state, 3600.0)
    assert np.array_equal(drifted, model.apply_noise(WEIGHTS, 3600.0, rng=4))
    assert not np.array_equal(drifted, model.apply_drift_noise(noisy, state, 3600.0, repeat=1))
    assert np.isfinite(model.apply_noise(WEIGHTS, rng=4)).all()
    with pytest.raises(ShapeError, match="equal shapes"):
        model.apply_drift_noise(noisy[:1], state, 3600.0)


def test_memory_of_a_single_pair():
    """State 5 times the weights; a call needs at most 2 times the weights more (blocks add less than 0.5)."""
    weights = np.random.default_rng(0).normal(size=4_000_000).astype(np.float32)
    program(weights[:1000], PCMLikeNoiseModel(), rng=1).weights_at(1.0)
    tracemalloc.start()
    try:
        state = program(weights, PCMLikeNoiseModel(), rng=1)
        kept, peak = (bytes_ / weights.nbytes for bytes_ in tracemalloc.get_traced_memory())
        assert 4.99 < kept < 5.1
        assert peak < 7.5
        tracemalloc.reset_peak()
        state.weights_at(60.0)
        assert tracemalloc.get_traced_memory()[1] / weights.nbytes < 7.5
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: program(WEIGHTS, PCMLikeNoiseModel(), rng=-1), ConfigError, "seed"),
        (lambda: program(WEIGHTS, PCMLikeNoiseModel(), rng=1, n_chips=0), ConfigError, "n_chips"),
        (lambda: program(WEIGHTS * np.inf, PCMLikeNoiseModel(), rng=1), NonFiniteError, "NaN or infinity"),
        (lambda: program(WEIGHTS.tolist(), PCMLikeNoiseModel(), rng=1), DtypeError, "must be an array"),
        (lambda: program(WEIGHTS * 1j, PCMLikeNoiseModel(), rng=1), DtypeError, "complex64"),
        (lambda: program(WEIGHTS, PCMLikeNoiseModel(), rng=1, w_max=0.0), ConfigError, "w_max"),
        (lambda: program(WEIGHTS, PCMLikeNoiseModel(), rng=1, w_max="1"), DtypeError, "w_max must be a number"),
        (lambda: program(WEIGHTS, PCMLikeNoiseModel(), rng=1, w_max=np.ones(30) * 1j), DtypeError, "w_max"),
        (lambda: program(WEIGHTS, PCMLikeNoiseModel(), rng=1, w_max=np.ones(7)), ShapeError, "broadcast"),
        (lambda: program(WEIGHTS, PCMLikeNoiseModel(), rng=1, w_max=np.ones((2, 7, 30))), ShapeError, "broadcast"),
    ],
)
def test_bad_programming(call, error, words: str):
    with pytest.raises(error, match=words):
        call()


@pytest.mark.parametrize(
    "t",
    [-1.0, float("nan"), float("inf"), "soon", "1", b"1", True, [[1.0]], np.array([[1.0]]), None, 10**400],
    ids=["negative", "nan", "inf", "text", "digit", "bytes", "bool", "nested", "matrix", "none", "huge"],
)
@pytest.mark.parametrize("name", list(MODELS))
def test_impossible_times(name: str, t: float):
    state = program(WEIGHTS, MODELS[name], rng=1)
    with pytest.raises(TimeError, match="seconds after programming"):
        state.weights_at(t)
    with pytest.raises(TimeError):
        state.weights_at([1.0, t])


def test_parameters_that_are_no_numbers():
    for parameters in ({"prog_noise_scale": "1"}, {"read_noise_scale": None}, {"t_0": "20"}, {"t_read": True}):
        with pytest.raises(ConfigError, match=next(iter(parameters))):
            ai.PCMLikeNoiseModel(**parameters)


def test_times_that_the_table_lacks():
    state = program(WEIGHTS, ai.ReRamWan2022NoiseModel(), rng=1)
    with pytest.raises(TimeError, match="interpolate_ages=True"):
        state.weights_at(3600.0)
    with pytest.raises(TimeError, match=r"from 1\.0 to 172800\.0"):
        program(WEIGHTS, ai.ReRamWan2022NoiseModel(interpolate_ages=True), rng=1).weights_at(1e6)
    assert np.array_equal(state.weights_at(0.0), state.weights_at(1.0))


def test_bad_repeat_and_bad_restored_state():
    state = program(WEIGHTS, PCMLikeNoiseModel(), rng=1)
    for repeat in (-1, 2**32):
        with pytest.raises(ConfigError, match="repeat"):
            state.weights_at(1.0, repeat=repeat)
    with pytest.raises(ShapeError, match="g_prog must have the shape"):
        dataclasses.replace(state, g_prog=state.g_prog[:1])
    with pytest.raises(ShapeError, match="drift_coefficients"):
        dataclasses.replace(state, drift_coefficients=state.g_prog[:, :1])


@pytest.mark.parametrize("g", [[-0.1, 3.0], [0.0, 25.1], [[26.0]]])
def test_conductances_out_of_range(backend: Backend, g):
    targets = backend.array(np.array(g, np.float32))
    model = PCMLikeNoiseModel()
    for call in (model.apply_programming_noise_to_conductance, model.generate_drift_coefficients):
        with pytest.raises(ConductanceError, match=r"within \[0\.0, 25\.0\] microsiemens"):
            call(targets, rng=1)


def test_bad_device_arrays():
    model, g = PCMLikeNoiseModel(), np.ones(3)
    with pytest.raises(ShapeError, match="equal shapes"):
        model.apply_drift_noise_to_conductance(g, g[:2], 1.0, rng=1)
    with pytest.raises(NonFiniteError, match="g_prog"):
        model.apply_drift_noise_to_conductance(g * np.nan, g, 1.0, rng=1)
    with pytest.raises(TimeError):
        model.apply_drift_noise_to_conductance(g, g, -1.0, rng=1)


def test_a_library_without_generator_says_so():
    strict = backend_named("array_api_strict")
    with pytest.raises(BackendError, match="Philox"):
        program(strict.array(WEIGHTS), PCMLikeNoiseModel(), rng=Native(1))


def test_counts_models_and_times_that_are_none() -> None:
    weights, model = np.ones((2, 3)), PCMLikeNoiseModel()
    for n_chips in (0, 1.5, "3", True):
        with pytest.raises(ConfigError, match="n_chips must be an integer at least 1"):
            program(weights, model, rng=1, n_chips=n_chips)
    for bad in (PCMLikeNoiseModel, None, "pcm"):
        with pytest.raises(ConfigError, match="noise_model must be a noise model such as"):
            program(weights, bad, rng=1)
    state = program(weights, model, rng=1)
    with pytest.raises(TimeError, match="At least one inference time"):
        state.weights_at([])
    for repeat in (1.5, "a", -1, 2**32):
        with pytest.raises(ConfigError, match="repeat must be an integer from 0"):
            state.weights_at(1.0, repeat=repeat)
    with pytest.raises(ConfigError, match="compensation must be one such as"):
        ai.read_compensated(state, 1.0, None)
