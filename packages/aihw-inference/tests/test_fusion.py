"""Export to a chip with one device per weight and back."""

from __future__ import annotations

import numpy as np
import pytest

from aihw_inference import FusionConductanceConverter
from aihw_inference.errors import ConductanceError, ConfigError, ShapeError

from .backends import Backend


def test_known_conductances(backend: Backend) -> None:
    """Each row is scaled to 40 microsiemens; the sign comes from the parameters."""
    weights = np.array([[1, 0.2], [0.3, -0.4], [0.0, 0.0]])
    (g,), parameters = FusionConductanceConverter().convert_to_conductances(backend.array(weights))
    np.testing.assert_allclose(backend.numpy(g), [[40, 8], [30, 40], [0, 0]], rtol=1e-6)
    back = FusionConductanceConverter().convert_back_to_weights([g], parameters)
    np.testing.assert_allclose(backend.numpy(back), weights, atol=1e-6)


def test_the_regression_undoes_a_common_drift_and_equals_least_squares(backend: Backend) -> None:
    draw = np.random.default_rng(2)
    weights = draw.normal(size=(5, 40))
    converter = FusionConductanceConverter(20.0)
    (g,), parameters = converter.convert_to_conductances(backend.array(weights))
    drifted = converter.convert_back_to_weights([g * 0.6], parameters)
    np.testing.assert_allclose(backend.numpy(drifted), weights, rtol=2e-5, atol=2e-6)
    noisy = np.abs(backend.numpy(g) + draw.normal(size=weights.shape))
    found = backend.numpy(converter.convert_back_to_weights(backend.array(noisy), parameters))
    for row, (measured, target) in enumerate(zip(noisy * np.sign(weights), weights, strict=True)):
        slope = np.polyfit(measured, target, 1)[0]
        np.testing.assert_allclose(found[row], slope * measured, rtol=1e-4)


def test_bad_input() -> None:
    with pytest.raises(ConfigError, match="between 10 and 40"):
        FusionConductanceConverter(50.0)
    converter = FusionConductanceConverter()
    with pytest.raises(ShapeError, match="weight matrices"):
        converter.convert_to_conductances(np.ones(3))
    (g,), parameters = converter.convert_to_conductances(np.ones((2, 3)))
    with pytest.raises(ShapeError, match="must have equal shapes"):
        converter.convert_back_to_weights([g[:1]], parameters)
    with pytest.raises(ShapeError, match="one device per weight"):
        converter.convert_back_to_weights([g, g], parameters)
    with pytest.raises(ConductanceError, match="must not be negative"):
        converter.convert_back_to_weights([-g], parameters)
