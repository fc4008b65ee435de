"""Helpers of the exactness tests: configurations, data, and comparison bit for bit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from rpu_sim import _core, backends, cuda
from rpu_sim import config as c

LANES = {"scalar": 1, "v2": 4, "v3": 8, "v4": 16, "v4x": 16, "aarch64": 4, "emulated-cuda": 1, "cuda": 1}

# The plugin that runs the CUDA kernels on the host, if the build has it (cmake/emulated.cmake).
PLUGIN = Path(_core.__file__).with_name("_emulated_cuda.so")
EMULATED = ("emulated-cuda",) if PLUGIN.exists() else ()
GPU = () if cuda.state().problem else ("cuda",)


@contextmanager
def computing_on(back_end: str) -> Iterator[None]:
    """Let the core compute on an instruction-set level, on the emulated CUDA kernels, or on a GPU."""
    before = backends.isa()
    try:
        if back_end in EMULATED:
            _core.offload(str(PLUGIN))
        elif back_end in GPU:
            backends.offload(back_end)
        else:
            backends.set_isa(back_end)
        yield
    finally:
        backends.offload("cpu")
        backends.set_isa(before)


def shapes(isa: str) -> list[tuple[int, int]]:
    """(out, in) sizes around the width of a pack and of a group of columns."""
    w = LANES[isa]
    return [(1, 1), (3, max(1, w - 1)), (2, w), (3, w + 1), (2, 65), (100, 37)]


SPREAD = {
    "lifetime": 8.0,
    "lifetime_dtod": 0.4,
    "diffusion": 0.02,
    "diffusion_dtod": 0.3,
    "reset": 0.1,
    "reset_dtod": 0.05,
}

DEVICES = {
    "constant": c.ConstantStepDevice(),
    "constant-quiet": c.ConstantStepDevice(dw_min_std=0.0, w_max=0.05, w_min=-0.05),
    "constant-uniform": c.ConstantStepDevice(dw_min_dtod=0.0, up_down_dtod=0.0, w_max_dtod=0.0, w_min_dtod=0.0),
    "constant-everything": c.ConstantStepDevice(
        corrupt_devices_prob=0.2,
        perfect_bias=True,
        dw_min_dtod_log_normal=True,
        dw_min_dtod_mean_preserving=True,
        up_down=0.3,
        **SPREAD,
    ),
    "constant-inconsistent": c.ConstantStepDevice(
        enforce_consistency=False, dw_min_dtod=1.5, w_max_dtod=1.5, w_min_dtod=1.5, up_down=-0.2
    ),
    "linear": c.LinearStepDevice(gamma_up=0.4, gamma_down=0.7),
    "linear-additive": c.LinearStepDevice(gamma_up=0.4, gamma_down=0.2, mult_noise=False, mean_bound_reference=False),
    "linear-reversed": c.LinearStepDevice(gamma_up=0.4, reverse_up=True, reverse_down=True, allow_increasing=True),
    "soft": c.SoftBoundsDevice(),
    "soft-additive": c.SoftBoundsDevice(mult_noise=False, w_max=0.1),
    "soft-quiet": c.SoftBoundsDevice(dw_min_std=0.0, corrupt_devices_prob=0.1),
    "soft-curve": c.SoftBoundsCurveDevice(),
    "soft-reference": c.SoftBoundsReferenceDevice(
        reference_mean=0.1,
        reference_std=0.2,
        subtract_symmetry_point=True,
        slope_up_dtod=0.6,
        slope_down_dtod=0.3,
        w_max=0.2,
    ),
    "soft-reference-multiplicative": c.SoftBoundsReferenceDevice(
        mult_noise=True,
        reference_std=0.1,
        corrupt_devices_prob=0.2,
        up_down=0.3,
        subtract_symmetry_point=True,
        **SPREAD,
    ),
    "exp": c.ExpStepDevice(),
    "pow": c.PowStepDevice(pow_gamma=1.7, pow_up_down=0.2, pow_up_down_dtod=0.3, w_max=0.1),
    "pow-inconsistent": c.PowStepDevice(
        enforce_consistency=False, pow_gamma=0.5, pow_gamma_dtod=2.0, corrupt_devices_prob=0.2, pow_up_down=-0.3
    ),
    "pow-reference": c.PowStepReferenceDevice(
        pow_gamma=1.5, reference_std=0.1, subtract_symmetry_point=True, up_down=0.3, corrupt_devices_prob=0.2
    ),
    "piecewise": c.PiecewiseStepDevice(piecewise_up=[1.5, 1.0, 0.2, -0.1], piecewise_down=[0.2, 1.0, 1.5, 0.3]),
    "piecewise-one-node": c.PiecewiseStepDevice(
        piecewise_up=[0.7], piecewise_down=[0.9], dw_min_std=0.0, corrupt_devices_prob=0.2
    ),
    "table": c.TableStepDevice(
        step_up=[[-0.5, 0.8, 2.0], [0.1, 0.5, 0.6], [-0.3, 0.0, 0.2]],
        step_down=[[-0.1, -0.05, 0.0], [-0.9, -0.4, 0.2], [-2.5, -1.0, -0.5]],
        dw_min_dtod=0.3,
        w_max_dtod=0.2,
        corrupt_devices_prob=0.1,
    ),
    "table-one-row": c.TableStepDevice(step_up=[[0.2, 0.5, 1.0, 3.0]], step_down=[[-3.0, -1.0, -0.5, -0.4]]),
    "exp-complex": c.ExpStepDevice(dw_min_std_add=0.01, dw_min_std_slope=0.1, A_up=-2.0, gamma_up=2.5, up_down=0.2),
}

UPDATES = {
    "default": c.UpdateParameters(),
    "no-management": c.UpdateParameters(update_bl_management=False, update_management=False, desired_bl=5),
    "long": c.UpdateParameters(update_bl_management=False, desired_bl=75),
    "very-long": c.UpdateParameters(update_bl_management=False, desired_bl=2100),
    "growing": c.UpdateParameters(
        update_bl_management=False, update_management=False, fixed_bl=False, desired_bl=2, res=0.01, sto_round=True
    ),
    "resolution": c.UpdateParameters(res=20.0, um_grad_scale=0.5),
    "implicit": c.UpdateParameters(pulse_type=c.PulseType.DETERMINISTIC_IMPLICIT),
    "implicit-long": c.UpdateParameters(
        pulse_type=c.PulseType.DETERMINISTIC_IMPLICIT,
        update_bl_management=False,
        desired_bl=70,
        x_res_implicit=0.02,
        d_res_implicit=40,
        sto_round=True,
    ),
    "noise-per-update": c.UpdateParameters(noise=c.CycleNoiseType.PER_UPDATE),
    "closed-form": c.UpdateParameters(noise=c.CycleNoiseType.CLOSED_FORM),
    "closed-form-long": c.UpdateParameters(
        noise=c.CycleNoiseType.CLOSED_FORM, update_bl_management=False, desired_bl=75
    ),
    "closed-form-implicit": c.UpdateParameters(
        noise=c.CycleNoiseType.CLOSED_FORM, pulse_type=c.PulseType.DETERMINISTIC_IMPLICIT, desired_bl=70
    ),
    "mean-count": c.UpdateParameters(pulse_type=c.PulseType.MEAN_COUNT),
    "mean-count-long": c.UpdateParameters(
        pulse_type=c.PulseType.MEAN_COUNT, update_bl_management=False, desired_bl=70, res=0.02, sto_round=True
    ),
}


def batch(shape: tuple[int, int], samples: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """x [samples, in] and d [samples, out] with exact zeros and a silent sample among them."""
    rng = np.random.default_rng(seed)
    x = (0.5 * rng.standard_normal((samples, shape[1]))).astype(np.float32)
    d = (0.3 * rng.standard_normal((samples, shape[0]))).astype(np.float32)
    x[rng.random(x.shape) < 0.1] = 0.0
    d[rng.random(d.shape) < 0.1] = -0.0
    if samples > 2:
        x[1] = 0.0
    return x, d


def assert_same_bits(actual: np.ndarray, expected: np.ndarray, what: str) -> None:
    """Equal float32 bit patterns; +0 and -0 differ, NaN equals itself."""
    assert actual.dtype == expected.dtype == np.float32
    assert actual.shape == expected.shape
    differ = actual.view(np.uint32) != expected.view(np.uint32)
    if differ.any():
        at = tuple(int(i) for i in np.argwhere(differ)[0])
        first = f"first at {at}: {actual[at]!r} != {expected[at]!r}"
        raise AssertionError(f"{what}: {differ.sum()} of {differ.size} differ, {first}")
