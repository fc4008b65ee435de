"""Arrays on a device that NumPy cannot read: nothing takes the way over the host, and every result stays there.

array-api-strict has such devices. They stand for those of CuPy, on which nothing of this has been run yet.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from aihw_inference import (
    BaseNoiseModel,
    CustomDriftPCMLikeNoiseModel,
    DualPairConductanceConverter,
    GlobalDriftCompensation,
    HermesNoiseModel,
    InputRangeCalibrationType,
    PCMLikeNoiseModel,
    PCMWeightNoiseModel,
    PerColumnDriftCompensation,
    ReRamCMONoiseModel,
    ReRamWan2022NoiseModel,
    StateIndependentNoiseModel,
    product_read_noise,
    program,
    range_estimator,
    read_compensated,
    scale_outputs,
)
from aihw_inference.activation_noise import apply_activation_dependent_read_noise

strict = pytest.importorskip("array_api_strict", reason="array-api-strict is not installed; install it to test with it")
DEVICE = strict.Device("device1")
DRIFT = {"g_lst": [0.0, 25.0], "nu_mean_lst": [0.08, 0.03], "nu_std_lst": [0.03, 0.01]}
MODELS: list[Callable[[], BaseNoiseModel]] = [
    PCMLikeNoiseModel,
    lambda: PCMLikeNoiseModel(g_converter=DualPairConductanceConverter([1.0, 2.0])),
    lambda: CustomDriftPCMLikeNoiseModel(DRIFT),
    HermesNoiseModel,
    StateIndependentNoiseModel,
    PCMWeightNoiseModel,
    ReRamCMONoiseModel,
    ReRamWan2022NoiseModel,
]


def there(values: Any) -> Any:
    return strict.asarray(np.asarray(values, np.float32), device=DEVICE)


def test_numpy_cannot_read_it() -> None:
    with pytest.raises((RuntimeError, BufferError)):
        np.asarray(there([1.0]))


@pytest.mark.parametrize("make", MODELS)
def test_program_read_compensate(make: Callable[[], BaseNoiseModel]) -> None:
    weights = there(np.linspace(-1.0, 1.0, 12).reshape(3, 4))
    state = program(weights, make(), rng=1, n_chips=2, w_max=1.0)
    for compensation in (GlobalDriftCompensation(), PerColumnDriftCompensation("least_squares")):
        read = read_compensated(state, 86400.0, compensation)
        assert read.weights.device == read.alpha.device == read.compensated.device == DEVICE
    assert state.weights_at([1.0, 86400.0]).device == state.conductances_at(1.0).device == DEVICE


def test_products() -> None:
    mean, variance = program(there(np.ones((3, 4))), PCMLikeNoiseModel(), rng=1).read_parts_at(60.0)
    x = there(np.ones((5, 4)))
    assert product_read_noise(x, variance, rng=1).device == DEVICE
    assert scale_outputs(strict.matmul(x, mean.T), there(np.ones(3))).device == DEVICE
    noisy = apply_activation_dependent_read_noise(mean, x, inp_res=1 / 126, w_max=1.0, rng=1)
    assert noisy.device == DEVICE


@pytest.mark.parametrize("kind", [kind for kind in InputRangeCalibrationType if kind.name != "NONE"])
def test_calibration(kind: InputRangeCalibrationType) -> None:
    estimator, here = range_estimator(kind, max_samples=3), range_estimator(kind, max_samples=3)
    x = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
    estimator.update(there(x))
    here.update(x)
    assert estimator.value() == pytest.approx(here.value(), rel=1e-6)
