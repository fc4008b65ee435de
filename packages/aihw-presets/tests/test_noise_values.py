"""The constants of the noise models give the golden values of the published laws."""

from __future__ import annotations

import math
from typing import Any

import pytest

import aihw_presets


def poly(coefficients: list[float], x: float) -> float:
    return sum(c * x**power for power, c in enumerate(coefficients))


def clipped_log(law: dict[str, float], r: float) -> float:
    return min(max(law["log_slope"] * math.log(max(r, 1e-7)) + law["offset"], law["min"]), law["max"])


def piecewise(law: dict[str, Any], r: float) -> float:
    return clipped_log(law["low"], r) if r < law["joint"] else poly(law["poly"], r)


def time_factor(model: dict[str, Any], t: float) -> float:
    return math.sqrt(math.log((t + model["t_0"] + model["t_read"]) / (2 * model["t_read"])))


@pytest.mark.parametrize(
    ("r", "sigma", "nu_mean", "nu_std", "read"),
    [
        (0.0, 0.26348, 0.1, 0.045, 0.2),
        (0.01, 0.28301269, 0.09578014, 0.045, 0.17558308),
        (0.05, 0.35879725, 0.07083385, 0.03154665, 0.06168111),
        (0.25, 0.68141125, 0.049, 0.01142868, 0.02166814),
        (1.0, 1.05538, 0.049, 0.008, 0.0088),
    ],
)
def test_pcm(r: float, sigma: float, nu_mean: float, nu_std: float, read: float) -> None:
    laws = aihw_presets.info("pcm-ibm-2019")["constants"]
    found_read = min(laws["read"]["factor"] * max(r, 1e-12) ** laws["read"]["exponent"], laws["read"]["max"])
    assert poly(aihw_presets.load("pcm-ibm-2019")["prog_coeff"], r) == pytest.approx(sigma, abs=1e-8)
    assert clipped_log(laws["nu_mean"], r) == pytest.approx(nu_mean, abs=1e-8)
    assert clipped_log(laws["nu_std"], r) == pytest.approx(nu_std, abs=1e-8)
    assert found_read == pytest.approx(read, abs=1e-8)


@pytest.mark.parametrize(
    ("name", "r", "sigma", "nu_mean", "nu_std", "read"),
    [
        ("hermes-1", 0.0, 0.15781817, 0.13, 0.04, 0.04),
        ("hermes-1", 0.05, 0.26871841, 0.09773484, 0.03364879, 0.02716671),
        ("hermes-1", 0.25, 0.61449022, 0.067725, 0.01433553, 0.0205875),
        ("hermes-1", 1.0, 1.00756712, 0.0174, 0.0055, 0.0168),
        ("hermes-2", 0.05, 0.38131912, 0.09773484, 0.02935007, 0.02815007),
        ("hermes-2", 0.25, 0.88876033, 0.067725, 0.01051964, 0.01593281),
        ("hermes-2", 1.0, 1.09269857, 0.0174, 0.0048, 0.0123),
    ],
)
def test_hermes(name: str, r: float, sigma: float, nu_mean: float, nu_std: float, read: float) -> None:
    laws = aihw_presets.info(name)["constants"]
    assert poly(aihw_presets.load(name)["prog_coeff"], r) == pytest.approx(sigma, abs=1e-8)
    assert piecewise(laws["nu_mean"], r) == pytest.approx(nu_mean, abs=1e-8)
    assert piecewise(laws["nu_std"], r) == pytest.approx(nu_std, abs=1e-8)
    assert piecewise(laws["read"], r) == pytest.approx(read, abs=1e-8)


@pytest.mark.parametrize(
    ("name", "first", "day"),
    [("pcm-ibm-2019", 4.183825, 5.086810), ("hermes-1", 4.369223, 5.016059), ("hermes-2", 4.415380, 5.016174)],
)
def test_times(name: str, first: float, day: float) -> None:
    model = aihw_presets.load(name)
    assert time_factor(model, 0) == pytest.approx(first, abs=1e-6)
    assert time_factor(model, 86400) == pytest.approx(day, abs=1e-6)


@pytest.mark.parametrize(
    ("age", "quarter", "full"), [("1", 2.25827, 1.103), ("86400", 3.720758, 2.651), ("172800", 3.663789, 2.677)]
)
def test_wan(age: str, quarter: float, full: float) -> None:
    model = aihw_presets.load("reram-wan2022")
    assert poly(model["coeff_dic"][age], 0.25) == pytest.approx(quarter, abs=1e-6)
    assert poly(model["coeff_dic"][age], 1.0) == pytest.approx(full, abs=1e-6)
    assert model["g_max"] == model["coeff_g_max_reference"] == 40.0


@pytest.mark.parametrize(
    ("name", "low", "high"), [("reram-cmo-0.2", 0.010430, 0.095078), ("reram-cmo-2", 0.112831, 1.007021)]
)
def test_cmo(name: str, low: float, high: float) -> None:
    model = aihw_presets.load(name)
    c0, c1 = model["coeff_dict"][f"{model['acceptance_range']:g}"]
    assert c0 + c1 * 9.0 == pytest.approx(low, abs=1e-6)
    assert c0 + c1 * 88.2 == pytest.approx(high, abs=1e-6)
    mean, (slope, offset) = model["decay_dict"]["mean"][0], model["decay_dict"]["std"]
    day = math.log(86400.0)
    assert mean * day == pytest.approx(-1.011664, abs=1e-6)
    assert slope * day + offset == pytest.approx(0.889366, abs=1e-6)
    read = model["read_dict"]
    factor = math.sqrt(math.log((1 + read["t_read"]) / (2 * read["t_read"])))
    assert read["K"] * math.log10(50.0) * factor == pytest.approx(0.170674, abs=1e-6)


@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("crosssim-rram-milo", [4.782321, -0.009107]),
        ("crosssim-rram-wan", [1.053, 0.2374, -1.167e-2, 1.536e-4]),
        ("crosssim-pcm-joshi", [0.28638599, 0.07585724, -0.00178767]),
    ],
)
@pytest.mark.parametrize("fraction", [0.0, 0.3, 1.0])
def test_crosssim_polynomials_in_absolute_conductance(name: str, published: list[float], fraction: float) -> None:
    model = aihw_presets.load(name)
    g_max = model.get("g_max") or model["g_converter"]["g_max"]
    assert poly(model["prog_coeff"], fraction) == pytest.approx(poly(published, fraction * g_max), rel=1e-12)
    assert model["prog_coeff_g_max_reference"] == g_max


def test_two_fits_of_the_same_pcm_data_agree() -> None:
    """The distance is 0.0229 uS at r = 0, the largest over the range."""
    ibm, joshi = (aihw_presets.load(name)["prog_coeff"] for name in ("pcm-ibm-2019", "crosssim-pcm-joshi"))
    assert max(abs(poly(ibm, r / 100) - poly(joshi, r / 100)) for r in range(101)) < 0.03


def test_analog_foundation_model_noise_is_continuous_at_the_joint() -> None:
    """Both cubics are rounded fits that meet at the joint to 1 % of the noise there (about 8.4)."""
    noise = aihw_presets.load("pcm-weight-noise-buchel2025")
    low, high = (poly(noise[side][::-1], noise["joint"]) for side in ("low", "high"))
    assert low == pytest.approx(high, rel=0.01)


def test_the_noise_model_of_analog_foundation_models_has_the_published_numbers() -> None:
    published, model = (aihw_presets.load(n) for n in ("pcm-weight-noise-buchel2025", "pcm-analog-foundation-2025"))
    for side in ("low", "high"):
        assert model[side] == published[side][::-1]
    for name in ("g_max", "joint", "zero_below"):
        assert model[name] == published[name]
