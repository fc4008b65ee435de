"""Modified copies, clipping and remapping against closed forms.

262144 weights of one value: means are known to std / 512, standard deviations to 0.14 %, distribution functions to
0.0076, fractions to 0.001; every check allows 5 standard errors (see ``sampling``).
"""

from __future__ import annotations

import copy
import math
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sampling import check_correlation, check_fraction, check_law, check_mean, check_std
from scipy import stats

from rpu_sim import WeightModifier, clip_weights, modify_weights, remap_weights
from rpu_sim.config import (
    WeightClipParameter,
    WeightClipType,
    WeightModifierParameter,
    WeightModifierType,
    WeightRemapParameter,
    WeightRemapType,
)
from rpu_sim.errors import ConfigError, DtypeError, NonFiniteError, ShapeError

T = WeightModifierType
N = 512
PCM = np.array([0.26348, 1.9650, -1.1731]) / 25.0


def constant(value: float) -> np.ndarray:
    """A matrix of one value, but for a largest weight of 1 in its last column, which the tests leave out."""
    w = np.full((N, N + 1), value, np.float32)
    w[:, -1] = 1.0
    return w


def copies(value: float, type_: T, *, seed: int = 3, **fields: Any) -> np.ndarray:
    modifier = WeightModifierParameter(type=type_, **fields)
    return modify_weights(constant(value), modifier, seed=seed)[:, :-1].astype(np.float64)


def normal_matrix(shape: tuple[int, int] = (60, 80)) -> np.ndarray:
    return (0.3 * np.random.default_rng(1).standard_normal(shape)).astype(np.float32)


# -- modified copies ---------------------------------------------------------------------------------------------------


def test_additive_noise_is_relative_to_the_largest_weight() -> None:
    for scale in (1.0, 0.2):
        w = scale * constant(0.5)
        noise = modify_weights(w, WeightModifierParameter(type=T.ADD_NORMAL, std_dev=0.1), seed=1) - w
        check_law(noise / (0.1 * scale), stats.norm.cdf, "additive noise")


def test_multiplicative_noise_is_relative_to_the_weight() -> None:
    for value in (0.5, -0.02):
        check_law((copies(value, T.MULT_NORMAL, std_dev=0.2) / value - 1) / 0.2, stats.norm.cdf, "relative noise")


def test_noise_of_cells_calls_seeds_and_samples_is_independent() -> None:
    noise = copies(0.0, T.ADD_NORMAL, std_dev=1.0)
    modifier = WeightModifierParameter(type=T.ADD_NORMAL, std_dev=1.0)
    others = modify_weights(constant(0.0), modifier, seed=3, samples=2)[1][:, :-1]
    later = modify_weights(constant(0.0), modifier, seed=3, step=1)[:, :-1]
    check_correlation(noise, others, 0.0, "samples")
    check_correlation(noise, later, 0.0, "calls")
    check_correlation(noise, copies(0.0, T.ADD_NORMAL, std_dev=1.0, seed=4), 0.0, "seeds")
    check_correlation(noise[:, 1:], noise[:, :-1], 0.0, "columns")
    check_correlation(noise[1:], noise[:-1], 0.0, "rows")


def test_discretised_weights_lie_on_the_grid_of_the_full_range() -> None:
    """res = 1/8 of 2 A: steps of A / 4, nine levels; the nearest one, ties to even."""
    w = np.linspace(-0.8, 0.8, 161, dtype=np.float32).reshape(7, 23)
    for res in (1 / 8, 8.0):
        copy = modify_weights(w, WeightModifierParameter(type=T.DISCRETIZE, res=res), seed=0)
        levels = copy.astype(np.float64) / 0.2
        assert np.abs(levels - np.rint(levels)).max() < 1e-5
        assert set(np.rint(levels).ravel()) == set(range(-4, 5))
        assert np.abs(copy - w).max() < 0.1 + 1e-6


def test_stochastic_rounding_is_unbiased() -> None:
    """Two levels, the upper one with the fraction f: mean w, variance D^2 f (1 - f)."""
    copy = copies(0.33, T.DISCRETIZE, res=0.1, sto_round=True)
    assert np.unique(np.round(copy, 6)).tolist() == [0.2, 0.4]
    check_fraction(copy > 0.3, 0.65, "upper level")


def test_dorefa_squashes_and_discretises() -> None:
    w = np.linspace(-0.8, 0.8, 161, dtype=np.float32).reshape(7, 23)
    smooth = modify_weights(w, WeightModifierParameter(type=T.DOREFA, dorefa_clip=0.5), seed=0)
    wide = w.astype(np.float64)
    assert smooth == pytest.approx(np.tanh(wide) * 0.5 / np.tanh(0.8), abs=2e-7)
    grid = modify_weights(w, WeightModifierParameter(type=T.DOREFA, dorefa_clip=0.5, res=0.1), seed=0)
    assert set(np.rint(grid.ravel() / 0.1)) == set(range(-5, 6))
    assert np.abs(grid - smooth).max() <= 0.05 + 1e-6


@pytest.mark.parametrize("value", [-1.0, -0.4, 0.0, 0.05])
@pytest.mark.parametrize("coeffs", [[], [0.02, 0.1, 0.0, -0.03]])
def test_polynomial_noise(value: float, coeffs: list[float]) -> None:
    copy = copies(value, T.POLY, std_dev=0.7, coeffs=coeffs)
    sigma = 0.7 * sum(c * abs(value) ** k for k, c in enumerate(coeffs or PCM))
    check_law((copy - value) / sigma, stats.norm.cdf, "polynomial noise")


@pytest.mark.parametrize("value", [-0.03, 0.0, 0.02])
def test_programming_noise_keeps_the_sign(value: float) -> None:
    """|w'| = |w + sigma xi|, coefficients in uS; at 0 the noise is symmetric."""
    copy = copies(value, T.PROG_NOISE, std_dev=1.0, coeffs=[1.0, 2.0], g_max=20.0)
    sigma = (1.0 + 2.0 * abs(value)) / 20.0
    if value == 0.0:
        check_law(copy / sigma, stats.norm.cdf, "noise of a zero weight")
    else:
        assert (np.sign(copy) == np.sign(value)).all()
        check_law(np.abs(copy) / sigma, stats.foldnorm(abs(value) / sigma).cdf, "folded noise")


def test_default_coefficients_are_the_measured_ones() -> None:
    poly, prog = (WeightModifierParameter(type=t, std_dev=1.0).noise_polynomial for t in (T.POLY, T.PROG_NOISE))
    assert poly == pytest.approx(PCM.tolist())
    assert prog == poly
    in_us = WeightModifierParameter(type=T.PROG_NOISE, std_dev=1.0, coeffs=[0.26348, 1.9650, -1.1731])
    assert in_us.noise_polynomial == pytest.approx(poly)


@pytest.mark.parametrize("type_", [T.COPY, T.DROP_CONNECT, T.ADD_NORMAL])
def test_dropped_fraction(type_: T) -> None:
    copy = copies(0.5, type_, std_dev=0.1, pdrop=0.2)
    check_fraction(copy == 0.0, 0.2, "dropped weights")
    check_mean(copy[copy != 0.0], 0.5, "kept weights", rounding=1e-7)
    assert (copies(0.5, T.NONE, pdrop=0.2) == 0.5).all()


def test_last_column_is_left_as_it_is() -> None:
    w = normal_matrix()
    w[:, -1] = 100.0
    fields: dict[str, Any] = {"std_dev": 0.1, "pdrop": 0.1, "copy_last_column": True}
    for type_ in T:
        copy = modify_weights(w, WeightModifierParameter(type=type_, **fields), seed=1)
        assert (copy[:, -1] == 100.0).all()
        assert np.abs(copy[:, :-1]).max() < 3.0, "the last column counts in the largest weight"


# -- phase-change memory ----------------------------------------------------------------------------------------------


def read_factor(r: float) -> float:
    return min(0.0088 / max(r**0.65, 1e-3), 0.2)


@pytest.mark.parametrize("value", [-1.0, 0.5, 0.1])
def test_programming_and_read_noise_of_pcm(value: float) -> None:
    """Before any drift, to first order in a small strength s: s^2 (sigma(r)^2 + (S q(r) r)^2), S at 20 s."""
    s, r = 0.01, abs(value)
    growth = math.sqrt(math.log((20 + 250e-9) / 500e-9))
    assert growth == pytest.approx(4.183825, abs=1e-6)
    copy = copies(value, T.PCM_NOISE, std_dev=s)
    programming = float(np.polyval(PCM[::-1], r))
    sigma = s * math.hypot(programming, growth * read_factor(r) * r)
    check_std(copy, sigma, "PCM noise")
    check_law((copy - value) / sigma, stats.norm.cdf, "PCM noise")


@pytest.mark.parametrize("value", [0.9, -0.1, 0.012])
def test_drift_of_pcm(value: float) -> None:
    """Without other noise w' = w exp(-nu L), nu = sigma |xi|: a half-normal logarithm."""
    t_inference = 86400.0
    copy = copies(value, T.PCM_NOISE, pcm_t_inference=t_inference)
    length = math.log((t_inference + 20.0) / 20.0)
    sigma = min(max(-0.0125 * math.log(abs(value)) - 0.0059, 0.008), 0.045)
    check_law(-np.log(copy / value) / (sigma * length), stats.halfnorm.cdf, "drift exponent")
    factor = 2 * math.exp((sigma * length) ** 2 / 2) * stats.norm.cdf(-sigma * length)
    check_mean(copy / value, factor, "drift factor", rounding=1e-6)


def test_zero_weights_of_pcm_stay_zero() -> None:
    assert (copies(0.0, T.PCM_NOISE, std_dev=1.0, pcm_t_inference=1e4) == 0.0).all()
    level = PCM[0]
    assert (copies(1.9 * level, T.PCM_NOISE, std_dev=1.0, pcm_zero_thres=2.0) == 0.0).all()
    assert (copies(2.1 * level, T.PCM_NOISE, std_dev=1.0, pcm_zero_thres=2.0) != 0.0).all()


@pytest.mark.parametrize("value", [0.4, -0.4, 0.0])
def test_events_of_pcm(value: float) -> None:
    """Without noise the events are exact: none, both devices reset, one at its maximum, a uniform magnitude."""
    reset = copies(value or 0.7, T.PCM_NOISE, pcm_prob_at_reset=0.3)
    check_fraction(reset == 0.0, 0.3, "reset pairs")
    stuck = copies(value, T.PCM_NOISE, pcm_prob_at_gmax=0.4)
    for side in (1.0, -1.0):
        expected = np.clip(value + side, -1.0, 1.0)
        check_fraction(np.abs(stuck - expected) < 1e-6, 0.2, f"pairs with one device at its maximum, {side}")
    random = copies(value, T.PCM_NOISE, pcm_prob_at_random=1.0)
    check_law(np.abs(random), stats.uniform.cdf, "magnitudes")
    if value == 0.0:
        check_fraction(random > 0.0, 0.5, "signs of zero weights")
    else:
        assert (random * value >= 0.0).all()


def test_pcm_clips_to_the_range() -> None:
    w = normal_matrix()
    modifier = WeightModifierParameter(type=T.PCM_NOISE, rel_to_actual_wmax=False, assumed_wmax=0.25)
    assert modify_weights(w, modifier, seed=0) == pytest.approx(np.clip(w, -0.25, 0.25), abs=1e-7)


# -- any modifier ------------------------------------------------------------------------------------------------------


@given(data=st.data())
@settings(max_examples=150, deadline=None, derandomize=True)
def test_no_modifier_makes_numbers_that_are_not_finite(data: st.DataObject) -> None:
    draw = data.draw
    switches = ("sto_round", "rel_to_actual_wmax", "copy_last_column")
    probabilities = ("pdrop", "pcm_prob_at_reset", "pcm_prob_at_gmax", "pcm_prob_at_random")
    sizes = ("dorefa_clip", "assumed_wmax", "g_max", "pcm_t0")
    modifier = WeightModifierParameter(
        type=draw(st.sampled_from(list(T))),
        std_dev=draw(st.sampled_from([0.0, 0.1, 10.0])),
        res=draw(st.sampled_from([-1.0, 0.0, 2.0**-24, 0.01, 0.9, 1.0, 3.0, 2.0**24])),
        coeffs=draw(st.lists(st.floats(-10, 10), max_size=5)),
        pcm_t_inference=draw(st.sampled_from([0.0, 1e-9, 1e9])),
        **{name: draw(st.booleans()) for name in switches},
        **{name: draw(st.floats(0, 1)) for name in probabilities},
        **{name: draw(st.sampled_from([1e-3, 1.0, 1e3])) for name in sizes},
    )
    large = [1e20] if modifier.rel_to_actual_wmax else []  # far beyond an assumed range a polynomial overflows
    scale = draw(st.sampled_from([0.0, 1e-45, 1e-30, 1e-20, 1.0, *large]))
    shape = (draw(st.integers(1, 5)), draw(st.integers(1, 130)))
    w = np.float32(scale) * np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    w[0, 0] = draw(st.sampled_from([0.0, -0.0, 1.0, -1.0])) * scale
    copy = modify_weights(w, modifier, seed=draw(st.integers(0, 2**64 - 1)), step=draw(st.integers(0, 2**40)))
    assert np.isfinite(copy).all()


# -- clip and remap ---------------------------------------------------------------------------------------------------


def test_clip_bounds() -> None:
    w = normal_matrix()
    wide = w.astype(np.float64)
    bounds = {
        WeightClipType.FIXED_VALUE: 0.4,
        WeightClipType.LAYER_GAUSSIAN: 1.5 * wide.std(ddof=1),
        WeightClipType.AVERAGE_CHANNEL_MAX: np.abs(wide).max(axis=1).mean(),
    }
    for type_, bound in bounds.items():
        fixed = 0.4 if type_ is WeightClipType.FIXED_VALUE else -1.0
        clipped = clip_weights(w, WeightClipParameter(type=type_, sigma=1.5, fixed_value=fixed))
        assert clipped == pytest.approx(np.clip(wide, -bound, bound), rel=1e-7)
        limited = clip_weights(w, WeightClipParameter(type=type_, sigma=1.5, fixed_value=0.1))
        assert np.abs(limited).max() == np.float32(0.1)
    assert (clip_weights(w, WeightClipParameter(type=WeightClipType.FIXED_VALUE)) == w).all()


@pytest.mark.parametrize("wmax", [1.0, 0.6])
@pytest.mark.parametrize("type_", [WeightRemapType.LAYERWISE_SYMMETRIC, WeightRemapType.CHANNELWISE_SYMMETRIC])
def test_remap_keeps_products_and_fills_the_range(type_: WeightRemapType, wmax: float) -> None:
    """Each factor is rounded once: the product is off by less than 2^-23, and the largest weight is exactly wmax."""
    w, scales = normal_matrix(), np.random.default_rng(2).uniform(0.1, 2.0, 60).astype(np.float32)
    w[3] = 0.0
    new_w, new_scales = remap_weights(w, scales, WeightRemapParameter(type=type_, remapped_wmax=wmax))
    before = scales.astype(np.float64)[:, None] * w
    after = new_scales.astype(np.float64)[:, None] * new_w
    assert np.abs(after - before).max() <= 2.0**-23 * np.abs(before).max()
    assert (np.abs(after - before) <= 2.0**-23 * np.abs(before)).all()
    channelwise = type_ is WeightRemapType.CHANNELWISE_SYMMETRIC
    largest = np.abs(np.delete(new_w, 3, axis=0)).max(axis=1)
    assert (largest == np.float32(wmax)).all() if channelwise else largest.max() == np.float32(wmax)
    if channelwise:
        assert new_scales[3] == scales[3], "an output of zeros keeps its scale"


def test_range_of_the_scales() -> None:
    """No new scale exceeds R times the smallest old one (or the reference); such outputs keep larger weights."""
    w = np.diag([0.5, 1.0, 4.0]).astype(np.float32)
    scales = np.array([1.0, 2.0, 3.0], np.float32)
    kind = WeightRemapType.CHANNELWISE_SYMMETRIC
    new_w, new = remap_weights(w, scales, WeightRemapParameter(type=kind, max_scale_range=1.5))
    assert new.tolist() == [0.5, 1.5, 1.5]
    assert np.diag(new_w) == pytest.approx([1.0, 4 / 3, 8.0])
    _, new = remap_weights(w, scales, WeightRemapParameter(type=kind, max_scale_range=1.5, max_scale_ref=4.0))
    assert new.tolist() == [0.5, 2.0, 6.0]


# -- arguments --------------------------------------------------------------------------------------------------------


def test_results_are_new_arrays_of_the_same_framework() -> None:
    torch = pytest.importorskip("torch", reason="the test of the torch edge needs torch")
    w = normal_matrix()
    given = w.copy()
    tensor = torch.from_numpy(w.copy()).requires_grad_()
    modifier = WeightModifierParameter(type=T.ADD_NORMAL, std_dev=0.1)
    clip = WeightClipParameter(type=WeightClipType.FIXED_VALUE, fixed_value=0.1)
    remap = WeightRemapParameter(type=WeightRemapType.LAYERWISE_SYMMETRIC)
    pairs = [
        (modify_weights(w, modifier, seed=1), modify_weights(tensor, modifier, seed=1)),
        (clip_weights(w, clip), clip_weights(tensor, clip)),
        (remap_weights(w, np.ones(1, np.float32), remap)[0], remap_weights(tensor, torch.ones(1), remap)[0]),
    ]
    for array, other in pairs:
        assert isinstance(other, torch.Tensor)
        assert not other.requires_grad
        assert (other.numpy() == array).all()
        assert not np.shares_memory(array, w)
    assert (w == given).all()


def test_prepared_modifier() -> None:
    """The same copies as the function, also from a copy and after the given parameters have changed."""
    w, parameters = normal_matrix(), WeightModifierParameter(type=T.PCM_NOISE, std_dev=1.0, pcm_t_inference=60.0)
    expected = modify_weights(w, parameters, seed=3, step=2, samples=2, sample_offset=1)
    modifier = WeightModifier(parameters)
    parameters.std_dev = 5.0
    for each in (modifier, copy.deepcopy(modifier), pickle.loads(pickle.dumps(modifier))):
        assert (each(w, seed=3, step=2, samples=2, sample_offset=1) == expected).all()
        assert each.parameters.std_dev == 1.0
    with pytest.raises(ConfigError, match="pdrop"):
        WeightModifier(WeightModifierParameter(pdrop=2.0))


@pytest.mark.parametrize("shape", [(0, 5), (5, 0), (0, 0)])
def test_empty_matrices(shape: tuple[int, int]) -> None:
    w = np.empty(shape, np.float32)
    for type_ in T:
        modifier = WeightModifierParameter(type=type_, std_dev=0.1, copy_last_column=True, pdrop=0.1)
        assert modify_weights(w, modifier, seed=0).shape == shape
    for clip in WeightClipType:
        assert clip_weights(w, WeightClipParameter(type=clip, fixed_value=0.5)).shape == shape
    for remap in WeightRemapType:
        new_w, scales = remap_weights(w, np.ones(1, np.float32), WeightRemapParameter(type=remap))
        assert new_w.shape == shape
        assert (scales == np.ones(shape[0])).all()


def test_tiny_weights_count_as_zeros() -> None:
    w = np.full((3, 70), 1e-42, np.float32)
    for type_ in T:
        copy = modify_weights(w, WeightModifierParameter(type=type_, res=0.1), seed=0)
        assert np.abs(copy).max() <= 1e-41


def test_bad_arguments() -> None:
    w, modifier = normal_matrix(), WeightModifierParameter(type=T.ADD_NORMAL, std_dev=0.1)
    with pytest.raises(DtypeError, match="float64"):
        modify_weights(w.astype(np.float64), modifier, seed=0)
    with pytest.raises(ShapeError, match=r"matrix \[out, in\]"):
        clip_weights(w[0], WeightClipParameter())
    for samples in (0, -1, True, 1.5):
        with pytest.raises(ShapeError, match="samples must be a positive integer"):
            modify_weights(w, modifier, seed=0, samples=samples)  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match="scales has shape"):
        remap_weights(w, np.ones(3, np.float32), WeightRemapParameter())
    with pytest.raises(NonFiniteError, match="scales"):
        remap_weights(w, np.full(60, np.nan, np.float32), WeightRemapParameter())
    for column in (0, -1):
        bad = w.copy()
        bad[5, column] = np.nan
        modifier.copy_last_column = True
        for call in (
            lambda: modify_weights(bad, modifier, seed=0),  # noqa: B023
            lambda: clip_weights(bad, WeightClipParameter()),  # noqa: B023
            lambda: remap_weights(bad, np.ones(1, np.float32), WeightRemapParameter()),  # noqa: B023
        ):
            with pytest.raises(NonFiniteError, match="contain NaN or infinity"):
                call()


@pytest.mark.parametrize(
    "fields",
    [
        {"std_dev": -0.1},
        {"std_dev": "0.1"},
        {"pdrop": 1.5},
        {"pcm_prob_at_gmax": -0.1},
        {"assumed_wmax": 0.0},
        {"res": math.inf},
        {"res": 1e-9},
        {"coeffs": [1.0, math.nan]},
        {"coeffs": 1.0},
        {"pcm_t0": 0.0},
    ],
)
def test_impossible_modifiers(fields: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(fields))):
        modify_weights(normal_matrix(), WeightModifierParameter(**fields), seed=0)


def test_impossible_clip_and_remap() -> None:
    with pytest.raises(ConfigError, match="sigma"):
        clip_weights(normal_matrix(), WeightClipParameter(sigma=0.0))
    with pytest.raises(ConfigError, match="max_scale_range needs remapped_wmax"):
        remap_weights(
            normal_matrix(), np.ones(1, np.float32), WeightRemapParameter(max_scale_range=2.0, remapped_wmax=0.6)
        )
