"""Converters against reference conductances, worked examples and their own inverse."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import aihw_inference as ai
from aihw_inference.errors import ConfigError, DtypeError, NonFiniteError, ShapeError

from .backends import Backend
from .reference import build, cases

CASES = cases("converter")

CONVERTERS = {
    "single_pair": ai.SinglePairConductanceConverter(),
    "single_pair_g_min": ai.SinglePairConductanceConverter(g_max=15.0, g_min=0.1),
    "dual_pair": ai.DualPairConductanceConverter([1.0, 3.0]),
    "n_pair": ai.NPairConductanceConverter([0.5, 2.0, 4.0], g_max=20.0, g_min=1.0),
    "custom": ai.CustomPairConductanceConverter(
        [1.0, 2.0], [[1, 1, 1, 4, 7], [7, 4, 1, 1, 1], [2, 2, 2, 3, 4], [4, 3, 2, 2, 2]], g_max=8.0, g_min=1.0
    ),
    "single_device": ai.SingleDeviceConductanceConverter(),
}


@pytest.mark.parametrize("name", list(CASES))
def test_reference_conductances(backend: Backend, name: str):
    case = CASES[name]
    converter = build(case["config"]["g_converter"])
    weights = backend.array(np.array(case["procedure"]["weights"], np.float32))
    conductances, parameters = converter.convert_to_conductances(weights)
    decoded = converter.convert_back_to_weights(conductances, parameters)
    for mine, key in ((conductances, "conductances"), ([decoded], "decoded")):
        stat = case["stats"][key]
        value = np.atleast_2d(np.array(stat["value"]))
        assert len(mine) == len(value)
        for row, expected in zip(mine, value, strict=True):
            np.testing.assert_allclose(backend.numpy(row), expected, rtol=stat["rtol"], atol=stat["atol"])


def test_two_pairs_worked_example(backend: Backend):
    converter = ai.NPairConductanceConverter([1, 2], g_max=10, g_min=1)
    weights = backend.array(np.array([-1, -0.5, 0, 0.2, 0.5, 1], np.float32))
    conductances, parameters = converter.convert_to_conductances(weights)
    assert float(parameters.scale_ratio) == pytest.approx(27.0)
    expected = [[1, 1, 1, 6.4, 10, 10], [10, 10, 1, 1, 1, 1], [1, 1, 1, 1, 3.25, 10], [10, 3.25, 1, 1, 1, 1]]
    np.testing.assert_allclose([backend.numpy(g) for g in conductances], expected, rtol=1e-6)


@pytest.mark.parametrize("name", list(CONVERTERS))
@given(
    weights=st.lists(st.floats(-4, 4, width=32, allow_subnormal=False), min_size=1, max_size=30),
)
def test_decoding_inverts_encoding(name: str, weights: list[float]):
    converter = CONVERTERS[name]
    w = np.array(weights, np.float64)
    conductances, parameters = converter.convert_to_conductances(w)
    for g in conductances:
        assert g.min() >= converter.g_min - 1e-12
        assert g.max() <= converter.g_max * (1 + 1e-12)
    np.testing.assert_allclose(converter.convert_back_to_weights(conductances, parameters), w, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("name", list(CONVERTERS))
def test_edge_cases(backend: Backend, name: str):
    converter = CONVERTERS[name]
    for values in ([[0.0, 0.0]], [[-0.3]], [[0.25, 0.25]], np.zeros((0, 3))):
        weights = backend.array(np.array(values, np.float32))
        conductances, parameters = converter.convert_to_conductances(weights)
        decoded = backend.numpy(converter.convert_back_to_weights(conductances, parameters))
        np.testing.assert_allclose(decoded, values, atol=1e-6)
        assert len(conductances) == converter.n_devices


def test_all_zero_weights_sit_at_g_min():
    conductances, parameters = ai.SinglePairConductanceConverter().convert_to_conductances(np.zeros(3, np.float32))
    assert float(parameters.scale_ratio) == pytest.approx(2.5e8)
    assert np.all(np.stack(conductances) == 0.0)


def test_integers_become_floats_and_inputs_stay():
    weights = np.array([-3, 0, 3])
    conductances, _ = ai.SinglePairConductanceConverter().convert_to_conductances(weights)
    assert conductances[0].tolist() == [0.0, 0.0, 25.0]
    assert weights.tolist() == [-3, 0, 3]


def test_a_curve_that_is_wrong_between_five_points_is_found():
    plus = [0, 0, 0, 0, 0, 3, 4, 7, 8]  # right at every second node only
    minus = [8, 5, 4, 1, 0, 0, 0, 0, 0]
    with pytest.raises(ConfigError, match="do not return the weight"):
        ai.CustomPairConductanceConverter([1.0], [plus, minus], g_max=8.0)
    ai.CustomPairConductanceConverter([1.0], [plus, minus], g_max=8.0, invertibility_test=False)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: ai.SinglePairConductanceConverter(g_max=1.0, g_min=1.0), "g_min < g_max"),
        (lambda: ai.SinglePairConductanceConverter(g_min=-1.0), "0 <= g_min"),
        (lambda: ai.SingleDeviceConductanceConverter(g_max=float("nan")), "g_min < g_max"),
        (lambda: ai.NPairConductanceConverter([1.0, -2.0]), "positive"),
        (lambda: ai.NPairConductanceConverter([1.0, 0.0]), "positive"),
        (lambda: ai.NPairConductanceConverter([]), "at least one"),
        (lambda: ai.DualPairConductanceConverter([1.0, 2.0, 3.0]), "two factors"),
        (lambda: ai.CustomPairConductanceConverter([0.0], [[0, 1], [1, 0]]), "not zero"),
        (lambda: ai.CustomPairConductanceConverter([1.0], [[0, 1]]), "2 curves"),
        (lambda: ai.CustomPairConductanceConverter([1.0], [[0, 1], [1, 0, 0]]), "common length"),
        (lambda: ai.CustomPairConductanceConverter([1.0], [[0, 30], [30, 0]]), "within"),
        (lambda: ai.CustomPairConductanceConverter([1.0], [[1, 1], [1, 1]]), "cancel"),
    ],
)
def test_impossible_parameters(make, words: str):
    with pytest.raises(ConfigError, match=words) as caught:
        make()
    assert isinstance(caught.value, AttributeError)


def test_bad_arrays():
    converter = ai.SinglePairConductanceConverter()
    with pytest.raises(NonFiniteError, match="weights"):
        converter.convert_to_conductances(np.array([1.0, np.nan]))
    with pytest.raises(DtypeError, match="must be an array"):
        converter.convert_to_conductances([1.0, 2.0])
    with pytest.raises(DtypeError, match="float16"):
        converter.convert_to_conductances(np.zeros(2, np.float16))
    conductances, parameters = converter.convert_to_conductances(np.array([1.0, -1.0]))
    with pytest.raises(ShapeError, match="needs 2 conductances"):
        converter.convert_back_to_weights(conductances[:1], parameters)
    with pytest.raises(ShapeError, match="equal shapes"):
        converter.convert_back_to_weights([conductances[0], conductances[1][:1]], parameters)


def test_converters_are_immutable_values():
    converter = ai.DualPairConductanceConverter([1, 3])
    assert converter == ai.DualPairConductanceConverter([1.0, 3.0], g_max=25.0, g_min=0.0)
    assert converter != ai.DualPairConductanceConverter([1, 2])
    with pytest.raises(AttributeError):
        converter.g_max = 3.0
