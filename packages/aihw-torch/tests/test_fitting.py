"""Fits of devices: parameters come back from simulated measurements, within the errors that the fit states."""

from __future__ import annotations

import csv

import numpy as np
import pytest

pytest.importorskip("scipy", reason="fits need the extra 'fitting'")

import aihw_presets
import rpu_sim
from aihw_torch.config import (
    ConstantStepDevice,
    ExpStepDevice,
    IdealDevice,
    LinearStepDevice,
    PiecewiseStepDevice,
    PowStepDevice,
    PowStepReferenceDevice,
    SingleRPUConfig,
    SoftBoundsDevice,
    UpdateParameters,
    from_dict,
)
from aihw_torch.errors import ConfigError
from aihw_torch.utils.fitting import fit_device, fit_measurements, model_response, save_preset
from rpu_sim.table import Steps

ALIKE = {"dw_min_dtod": 0.0, "w_max_dtod": 0.0, "w_min_dtod": 0.0, "up_down_dtod": 0.0}
ALIKE |= {"w_max": 1.0, "w_min": -1.0, "dw_min_std": 0.0}
SOFT = {**ALIKE, "w_max": 1.3, "w_min": -1.15}
ONE_PULSE = UpdateParameters(desired_bl=1, update_bl_management=False, update_management=False)

DEVICES = {
    "constant": ConstantStepDevice(dw_min=0.02, up_down=-0.2, **ALIKE),
    "linear": LinearStepDevice(
        dw_min=0.02, up_down=0.1, gamma_up=0.3, gamma_down=0.6, gamma_up_dtod=0.0, gamma_down_dtod=0.0, **ALIKE
    ),
    "increasing": LinearStepDevice(
        dw_min=0.02, gamma_up=-0.3, gamma_up_dtod=0.0, gamma_down_dtod=0.0, allow_increasing=True, **ALIKE
    ),
    "soft bounds": SoftBoundsDevice(dw_min=0.03, up_down=0.2, **SOFT),
    "power": PowStepDevice(dw_min=0.05, up_down=-0.1, pow_gamma=1.5, pow_up_down=0.2, pow_gamma_dtod=0.0, **SOFT),
    "exponential": ExpStepDevice(dw_min=0.02, A_up=0.003, gamma_up=11.0, A_down=0.4, gamma_down=10.0, **ALIKE),
    "piecewise": PiecewiseStepDevice(
        dw_min=0.02, piecewise_up=(1.2, 1.0, 0.6, 0.4), piecewise_down=(0.5, 0.8, 1.0, 1.3), **ALIKE
    ),
}


def measured(device, n_devices=1, n_pulses=120, cycles=2, seed=3):
    """Steps of pulses up and down, as `read_csv` gives them."""
    tile = rpu_sim.Tile(n_devices, 1, SingleRPUConfig(device=device, update=ONE_PULSE), seed=seed)
    tile.set_weights(np.full((n_devices, 1), -0.95, np.float32))
    directions = np.tile(np.repeat([1.0, -1.0], n_pulses), cycles).astype(np.float32)
    readings = [np.array(tile.get_weights())[:, 0]]
    for direction in directions:
        tile.update(np.ones((1, 1), np.float32), np.full((1, n_devices), -direction, np.float32), 1.0)
        readings.append(np.array(tile.get_weights())[:, 0])
    trace = np.array(readings, np.float64)
    number = np.broadcast_to(np.arange(n_devices), trace[1:].shape)
    up = np.broadcast_to(directions[:, None] > 0, trace[1:].shape)
    return Steps(number.ravel(), up.ravel(), trace[:-1].ravel(), np.diff(trace, axis=0).ravel())


def truth(device, name):
    """The value of a parameter of the fit."""
    larger, other = device.dw_min, device.dw_min * (1.0 - abs(device.up_down))
    up, down = (larger, other) if device.up_down >= 0.0 else (other, larger)
    values = {"step_up": up, "step_down": down}
    if isinstance(device, PowStepDevice):
        values |= {"gamma_up": device.pow_gamma, "gamma_down": device.pow_gamma * (1.0 - device.pow_up_down)}
    if isinstance(device, ExpStepDevice):
        values["drop_up"] = device.A_up * np.exp(device.gamma_up * (device.b + device.a))
        values["drop_down"] = device.A_down * np.exp(-device.gamma_down * (device.b - device.a))
    if isinstance(device, PiecewiseStepDevice):
        for direction in ("up", "down"):
            for i, factor in enumerate(getattr(device, f"piecewise_{direction}")):
                values[f"{direction}_{i}"] = factor * device.dw_min
    return values[name] if name in values else getattr(device, name)


def fitted_value(fit, name):
    return fit.values[name] * (fit.device.dw_min if isinstance(fit.device, PiecewiseStepDevice) else 1.0)


@pytest.mark.parametrize("case", list(DEVICES))
def test_parameters_come_back_without_noise(case):
    """To 0.2 %, which the derivatives by differences of float32 numbers allow."""
    device = DEVICES[case]
    fit = fit_device(measured(device), type(device), limits=(-1.0, 1.0), nodes=4)
    for name in fit.values:
        assert fitted_value(fit, name) == pytest.approx(truth(device, name), rel=2e-3, abs=1e-5), name
    assert fit.device.dw_min_std < 1e-3
    assert fit.device.dw_min_dtod == 0.0
    assert fit.residual_std < 1e-4 * device.dw_min * 10


@pytest.mark.parametrize("case", ["linear", "soft bounds"])
def test_parameters_come_back_from_noise_within_their_errors(case):
    """Within 5 standard errors (a false alarm in 2 million), which are small; the noise of 2000 steps to 10 %."""
    device = DEVICES[case].mutable_copy()
    device.dw_min_std = 0.3
    fit = fit_device(measured(device, n_pulses=200, cycles=5), type(device), limits=(-1.0, 1.0))
    for name, value in fit.values.items():
        assert fit.errors[name] < 0.05 * abs(value) + 0.02
        assert abs(value - truth(device, name)) < 5 * fit.errors[name], name
    assert fit.device.dw_min_std == pytest.approx(0.3, rel=0.1)


def test_devices_that_differ_and_readings_with_noise():
    """40 gains have a standard deviation of 0.2 to 11 %; here it is compared with theirs, without sampling error."""
    device = ConstantStepDevice(**{**ALIKE, "dw_min": 0.02, "dw_min_dtod": 0.2, "w_max": 20.0, "w_min": -20.0})
    steps = measured(device, n_devices=40, n_pulses=60, cycles=1)
    gains = np.array([np.abs(steps.change[steps.device == n]).mean() for n in range(40)])
    noise = 0.004 * np.random.default_rng(1).normal(size=len(steps.change) + 1)
    steps = steps._replace(change=steps.change + np.diff(noise))
    fit = fit_device(steps, ConstantStepDevice, limits=(-1.0, 1.0), read_noise=0.004)
    assert fit.device.dw_min_dtod == pytest.approx((gains / gains.mean()).std(ddof=1), rel=0.05)
    assert fit.device.dw_min_std < 0.06  # of a noise of 0.28 steps that belongs to the readings


def write_csv(path, device):
    steps = measured(device)
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["device", "direction", "conductance"])
        rows.writerow(["A", "", 10.0 + 5.0 * steps.before[0]])
        rows.writerows(
            ["A", "up" if up else "down", 10.0 + 5.0 * (before + change)]
            for up, before, change in zip(steps.up, steps.before, steps.change, strict=True)
        )


def test_from_a_file_to_a_preset(tmp_path):
    """Conductances of 10 + 5 w in any unit become weights; the preset loads as the fitted device."""
    device = DEVICES["soft bounds"]
    write_csv(tmp_path / "pulses.csv", device)
    fit = fit_device(tmp_path / "pulses.csv", SoftBoundsDevice, limits=(5.0, 15.0))
    assert fit.device.w_max == pytest.approx(device.w_max, rel=2e-3)
    assert "SoftBoundsDevice fitted to 480 pulses" in fit.report()
    path = fit.save_preset(tmp_path / "MyDevice", source="measured by me", licence="CC0-1.0", notes='Says "hello"\n')
    assert path.name == "MyDevice.toml"
    assert from_dict(aihw_presets.load("MyDevice", path=path)) == fit.device
    assert aihw_presets.names("device", path=path).count("MyDevice") == 1
    info = aihw_presets.info("MyDevice", path=path)
    assert info["references"][0]["cite"] == "measured by me"
    assert info["notes"].startswith('Says "hello"')
    assert "480 pulses; conductances 5 to 15" in info["notes"]


def test_presets_of_other_configurations(tmp_path):
    config = SingleRPUConfig(device=DEVICES["piecewise"], update=UpdateParameters(desired_bl=7))
    path = save_preset(config, tmp_path / "MyConfig", source="me", licence="CC0-1.0", status="specification")
    assert from_dict(aihw_presets.load("MyConfig", path=path)) == config
    save_preset(config, path, source="10.1234/abc", licence="CC0-1.0")
    assert aihw_presets.info("MyConfig", path=path)["source"] == ["10.1234/abc"]
    with pytest.raises(ConfigError, match="is no name of a preset"):
        save_preset(config, tmp_path / "1 device", source="me", licence="CC0-1.0")
    config.forward.inp_noise = -1.0
    with pytest.raises(ConfigError, match="inp_noise"):
        save_preset(config, tmp_path / "MyConfig", source="me", licence="CC0-1.0")
    assert from_dict(aihw_presets.load("MyConfig", path=path)).forward.inp_noise == 0.0


def test_what_cannot_be_fitted_says_why():
    steps = measured(DEVICES["constant"])
    with pytest.raises(ConfigError, match="IdealDevice has no fit; take one of ConstantStepDevice"):
        fit_device(steps, IdealDevice)
    with pytest.raises(ConfigError, match="PowStepReferenceDevice has no fit"):
        fit_device(steps, PowStepReferenceDevice())
    with pytest.raises(ConfigError, match="must increase"):
        fit_device(steps, ConstantStepDevice, limits=(1.0, 1.0))
    with pytest.raises(ConfigError, match="must lie around 0"):
        fit_device(steps, ConstantStepDevice, w_range=(0.0, 1.0))
    few = Steps(*(values[::80] for values in steps))
    with pytest.raises(ConfigError, match=r"the 6 pulses do not determine the 20 parameters of PiecewiseStepDevice"):
        fit_device(few, PiecewiseStepDevice)
    with pytest.raises(ConfigError, match="up pulses do not move the weight up"):
        fit_device(steps._replace(up=~steps.up), ConstantStepDevice)


# ---- whole traces


def traces(device, n_devices=2, n=40):
    pulses = np.concatenate([np.full(n, 2), np.full(n, -1)])
    response = model_response(
        {}, pulses, np.zeros((2 * n, n_devices)), single(device), verbose=False, only_response=True
    )
    return pulses, response[0]


def single(device):
    return SingleRPUConfig(device=device, update=ONE_PULSE)


def test_traces_follow_the_pulses():
    """Two up pulses before each reading, then one down pulse, from the first reading on."""
    _, response = traces(DEVICES["constant"], n=3)
    step = 0.02
    expected = [0.0, 1.6 * step, 3.2 * step, 2.2 * step, 1.2 * step, 0.2 * step]
    np.testing.assert_allclose(response, np.repeat(np.array(expected)[:, None], 2, axis=1), atol=1e-6)


@pytest.mark.parametrize("method", ["powell", "leastsq"])
def test_fields_come_back_from_traces(method):
    device = DEVICES["soft bounds"]
    pulses, response = traces(device)
    start = device.mutable_copy()
    start.dw_min_std = 0.3  # taken off by suppress_device_noise
    parameters = {"dw_min": (0.02, 0.005, 0.1), "w_max": (1.0, 0.9, 2.0), "up_down": 0.2}
    result, config, model = fit_measurements(parameters, pulses, response, start, max_pulses=2, method=method)
    assert result.params["up_down"] == 0.2
    assert config.device.dw_min == pytest.approx(device.dw_min, rel=2e-3)
    assert config.device.w_max == pytest.approx(device.w_max, rel=2e-3)
    assert model.shape == response.shape
    np.testing.assert_allclose(model, response, atol=1e-3)
    assert start.dw_min == device.dw_min  # the caller's object


def test_several_traces_and_bad_ones(capsys):
    device = DEVICES["constant"]
    pulses, response = traces(device, n=5)
    both = model_response({"dw_min": 0.02}, (pulses, -pulses), (response, response[:, :1]), single(device))
    assert both.shape == (10 * 2 + 10,)
    assert "dw_min" in capsys.readouterr().out
    for bad, sentence in [
        ({"pulse_data": (pulses,)}, "both tuples"),
        ({"pulse_data": pulses[:-1]}, "do not go with"),
        ({"pulse_data": pulses * 0.5}, "whole numbers"),
        ({"max_pulses": 1}, "raise max_pulses"),
        ({"parameters": {"dw_mni": (0.1, 0.0, 1.0)}}, "no field 'dw_mni'; did you mean 'dw_min'"),
        ({"parameters": {"dw_min": 0.1}}, "no parameter varies"),
    ]:
        arguments = {"parameters": {"dw_min": (0.1, 0.01, 1.0)}, "pulse_data": pulses, "max_pulses": 2, **bad}
        with pytest.raises(ConfigError, match=sentence):
            fit_measurements(response_data=response, device_config=device, **arguments)
