"""Random signal chains: the compiled product equals the oracle bit for bit, and finite input gives finite output."""

from __future__ import annotations

from typing import Any

import numpy as np
from analog import OracleProduct, Product
from exact import assert_same_bits
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rpu_sim.config import (
    AnalogMVType,
    BoundManagementType,
    IOParameters,
    IOParametersIRDropT,
    NoiseManagementType,
    WeightNoiseType,
)
from rpu_sim.errors import ConfigError


def small(largest: float) -> st.SearchStrategy[float]:
    return st.one_of(st.just(0.0), st.floats(0.0, largest))


FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "mv_type": st.sampled_from(list(AnalogMVType)),
    "inp_bound": st.sampled_from([1.0, 1.0, 0.7, -1.0]),
    "inp_noise": small(0.2),
    "inp_res": st.sampled_from([1 / 126, 1 / 126, 1 / 30, 0.3, 40.0, -1.0]),
    "inp_sto_round": st.booleans(),
    "inp_asymmetry": small(0.1),
    "out_bound": st.sampled_from([12.0, 0.3, 0.3, -1.0, float("inf")]),
    "out_noise": small(0.2),
    "out_noise_std": small(0.5),
    "out_res": st.sampled_from([1 / 510, 1 / 30, 64.0, -1.0]),
    "out_sto_round": st.booleans(),
    "out_scale": st.floats(0.125, 8.0),
    "out_asymmetry": small(0.1),
    "bound_management": st.sampled_from([b for b in BoundManagementType if b is not BoundManagementType.SHIFT]),
    "noise_management": st.sampled_from(list(NoiseManagementType)),
    "w_noise": small(0.2),
    "w_noise_type": st.sampled_from(list(WeightNoiseType)),
    "ir_drop": small(2.0),
    "ir_drop_g_ratio": st.sampled_from([571428.0, 100.0]),
    "out_nonlinearity": small(1.0),
    "out_nonlinearity_std": small(0.5),
    "slope_calibration": small(0.9),
    "v_offset_std": small(0.2),
    "v_offset_w_min": st.floats(-1.0, 1.0),
    "r_series": small(0.2),
    "w_read_asymmetry_dtod": small(0.2),
    "max_bm_factor": st.integers(1, 1000),
    "max_bm_res": small(1.0),
    "bm_test_negative_bound": st.booleans(),
    "nm_thres": small(2.0),
    "split_mode_bit_shift": st.integers(1, 3),
}


SLICES = FIELDS | {
    "mv_type": st.sampled_from([AnalogMVType.ONE_PASS, AnalogMVType.SPLIT_MODE, AnalogMVType.BIT_WISE]),
    "inp_bound": st.just(1.0),
    "inp_res": st.sampled_from([1 / 126, 1 / 30, 40.0]),
    "w_read_asymmetry_dtod": st.just(0.0),
    "w_noise_type": st.just(WeightNoiseType.PCM_READ),
    "ir_drop_rs": small(20.0),
    "ir_drop_segments": st.integers(1, 80),
    "ir_drop_time_step_resolution_scale": st.floats(0.05, 3.0),
    "ir_drop_v_read": st.floats(0.3, 0.5),
    "ir_drop_g_max": st.floats(1.0, 100.0),
    "ir_drop_g_min": small(0.9),
    "ir_drop_integration_sum": st.booleans(),
    "adc_quantization": st.booleans(),
    "adc_frequency": st.floats(0.1, 50.0),
    "apply_xdep_pcm_read_noise": st.booleans(),
    "xdep_pcm_read_noise_scale": small(3.0),
}
SLICES.pop("ir_drop_g_ratio")  # has no meaning there
SAMPLES = {"shape": st.tuples(st.integers(1, 70), st.integers(1, 20)), "samples": st.integers(1, 5),
           "backward": st.booleans(), "seed": st.integers(0, 2**32 - 1)}  # fmt: skip


def test_every_field_is_drawn() -> None:
    assert set(FIELDS) == set(vars(IOParameters())) - {"is_perfect"}
    assert set(SLICES) == set(vars(IOParametersIRDropT())) - {"is_perfect", "ir_drop_g_ratio"}


def check(io: IOParameters, shape: tuple[int, int], samples: int, backward: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    w = rng.uniform(-0.6, 0.6, shape).astype(np.float32)
    x = (rng.standard_normal((samples, shape[0 if backward else 1])) * 3).astype(np.float32)
    pair = [p(io, w, backward=backward, key=seed, physical=50) for p in (Product, OracleProduct)]
    actual, expected = (p(x, step=seed >> 3, first=seed) for p in pair)
    assert np.isfinite(actual).all()
    assert_same_bits(actual, expected, str(io))


@settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(fields=st.fixed_dictionaries(FIELDS), samples=st.fixed_dictionaries(SAMPLES))
def test_random_chains(fields: dict[str, Any], samples: dict[str, Any]) -> None:
    io = IOParameters(**fields)
    try:
        io.check()
    except ConfigError:
        io.noise_management, io.inp_bound, io.inp_res = NoiseManagementType.ABS_MAX, 1.0, 1 / 126
        io.w_noise_type = WeightNoiseType.PCM_READ
        io.w_read_asymmetry_dtod *= "POS_NEG" in io.mv_type.name
        io.check()
    check(io, **samples)


@settings(max_examples=100, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(fields=st.fixed_dictionaries(SLICES), samples=st.fixed_dictionaries(SAMPLES))
def test_random_time_slices(fields: dict[str, Any], samples: dict[str, Any]) -> None:
    check(IOParametersIRDropT(**fields), **samples)
