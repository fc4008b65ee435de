"""Devices from measured pulses: fits of the step models, user presets, and whole traces.

`fit_device` takes single steps, of a CSV file in the format of `rpu_sim.table`, and compares each with what the device
itself does from the same state; `fit_measurements` simulates whole traces and compares those. Both need SciPy, the
extra `fitting`.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

import rpu_sim
from aihw_torch.config import PulsedDevice, SingleRPUConfig, UpdateParameters
from aihw_torch.errors import ConfigError
from aihw_torch.utils.preset_file import save_preset
from aihw_torch.utils.step_models import Data, StepModel, model_of
from rpu_sim.table import Steps, device_gains, read_csv

__all__ = ["DeviceFit", "fit_device", "fit_measurements", "model_response", "save_preset"]

Float64 = NDArray[np.float64]


@dataclass(frozen=True)
class DeviceFit:
    """A device that was fitted to measured pulses.

    Attributes:
        device: its configuration; bounds, steps and shape are fitted, `dw_min_std` follows from the residuals and
            `dw_min_dtod` from the gains of the measured devices. All other spreads are 0.
        values: the fitted parameters. `step_up` and `step_down` are the steps that `dw_min` and `up_down` describe.
        errors: one standard error of each.
        limits: conductances that are the weights `w_range`.
        w_range: see there.
        n_pulses: number of pulses.
        residual_std: of the measured steps around those of the device, in units of weight.
    """

    device: PulsedDevice
    values: dict[str, float]
    errors: dict[str, float]
    limits: tuple[float, float]
    w_range: tuple[float, float]
    n_pulses: int
    residual_std: float

    def report(self) -> str:
        """The fit as text."""
        lines = [f"{type(self.device).__name__} fitted to {self.n_pulses} pulses"]
        lines += [f"  {name:<14} {value:11.5g} +- {self.errors[name]:.2g}" for name, value in self.values.items()]
        lines.append(f"  dw_min_std     {self.device.dw_min_std:11.5g}")
        lines.append(f"  dw_min_dtod    {self.device.dw_min_dtod:11.5g}")
        return "\n".join([*lines, f"residual of a step: {self.residual_std:.3g}"])

    def save_preset(self, path: str | Path, *, source: str, licence: str, notes: str = "") -> Path:
        """Write the device as a preset file; see `save_preset` of this module."""
        low, high = self.limits
        made = f"Fit of {self.n_pulses} pulses; conductances {low:.6g} to {high:.6g} are the weights {self.w_range}."
        return save_preset(self.device, path, source=source, licence=licence, notes=f"{notes} {made}".strip())


def fit_device(
    measurement: str | Path | Steps,
    device: type[PulsedDevice] | PulsedDevice,
    *,
    limits: tuple[float, float] | None = None,
    w_range: tuple[float, float] = (-1.0, 1.0),
    read_noise: float = 0.0,
    nodes: int = 10,
) -> DeviceFit:
    """Fit the parameters of a device to measured single pulses, by least squares against its own noise-free step.

    Every measured step is compared with what one pulse does to the device in the state of the reading before. A second
    fit weights the steps by the noise that the first leaves: `dw_min_std` times the step, and the noise of the reading.

    Args:
        measurement: a CSV file with the columns `device`, `direction` and `conductance` (see `rpu_sim.table`), or the
            steps in it.
        device: ConstantStepDevice, LinearStepDevice, SoftBoundsDevice, ExpStepDevice, PowStepDevice or
            PiecewiseStepDevice; an object gives fields that are not fitted, such as `a` and `b` of ExpStepDevice.
        limits: conductances of the smallest and the largest weight; by default the extreme readings. Devices without
            soft bounds have their bounds there.
        w_range: weights of those conductances.
        read_noise: standard deviation of one reading, in units of conductance; it is not the device's.
        nodes: number of nodes of PiecewiseStepDevice.

    Raises:
        ConfigError: the file is not such a measurement, the device has no fit, or the steps do not determine it.
    """
    _scipy()
    steps = measurement if isinstance(measurement, Steps) else read_csv(measurement)
    limits = _limits(steps, limits)
    scale = (w_range[1] - w_range[0]) / (limits[1] - limits[0])
    data = Data(w_range[0] + (steps.before - limits[0]) * scale, steps.up, steps.change * scale, w_range)
    model = model_of(device, data, nodes)
    values = np.array([parameter.start for parameter in model.parameters])
    spread = np.full_like(data.change, float(np.std(data.change)) or 1.0)
    reading = 2.0 * (read_noise * scale) ** 2  # a step is the difference of two readings
    for _ in range(2):
        values, errors = _least_squares(model, data, values, spread)
        step = one_pulse(model.device(values), data.before, data.up)
        gains, gain_std = device_gains(steps, step)
        own = gains[steps.device] * step
        cycle = max(float(np.mean((data.change - own) ** 2)) - reading, 0.0) / float(np.mean(step**2))
        # Steps near a soft bound are small, but not known any better than others by that factor.
        size = np.maximum(np.abs(step), 0.05 * float(np.abs(step).max()))
        spread = np.sqrt(reading + cycle * size**2) if reading + cycle > 1e-12 else spread
    fitted = model.device(values)
    fitted.dw_min_std, fitted.dw_min_dtod = float(np.sqrt(cycle)), gain_std
    fitted.check()
    residual = float(np.std(data.change - step))
    return DeviceFit(fitted, model.by_name(values), model.by_name(errors), limits, w_range, len(step), residual)


def one_pulse(device: PulsedDevice, before: Float64, up: NDArray[np.bool_]) -> Float64:
    """Return what one pulse without noise changes on nominal devices of the weights `before`, [n]."""
    device = copy.deepcopy(device)
    _silence(device)
    tile = rpu_sim.Tile(len(before), 1, SingleRPUConfig(device=device, update=_one_pulse_update()), seed=0)
    tile.set_weights(before.astype(np.float32)[:, None])
    start = np.array(tile.get_weights())
    tile.update(np.ones((1, 1), np.float32), np.where(up, -1.0, 1.0).astype(np.float32)[None], 1.0)
    change: Float64 = (np.array(tile.get_weights()) - start)[:, 0].astype(np.float64)
    return change


def _one_pulse_update() -> UpdateParameters:
    return UpdateParameters(desired_bl=1, update_bl_management=False, update_management=False)


def _silence(device: PulsedDevice) -> None:
    """Take all spreads off a device."""
    for name in vars(device):
        if name.endswith(("_dtod", "_std")):
            setattr(device, name, 0.0)


def _limits(steps: Steps, limits: tuple[float, float] | None) -> tuple[float, float]:
    after = steps.before + steps.change
    found = limits or (float(min(steps.before.min(), after.min())), float(max(steps.before.max(), after.max())))
    if not found[0] < found[1] < float("inf"):
        raise ConfigError(f"the limits of the conductance must increase, {found} do not")
    return found


def _least_squares(model: StepModel, data: Data, start: Float64, spread: Float64) -> tuple[Float64, Float64]:
    """Return the parameters and their standard errors.

    Raises:
        ConfigError: the data do not determine the parameters.
    """
    parameters, n = model.parameters, len(spread)
    low, high = (np.array([getattr(parameter, end) for parameter in parameters]) for end in ("low", "high"))
    # In units of their starting values and at least 1, so that relative steps of the derivatives suit all of them.
    size = np.abs([parameter.start for parameter in parameters])
    shift = 1.0 - low / size

    def residuals(scaled: Float64) -> Float64:
        device = model.device((scaled - shift) * size)
        return (one_pulse(device, data.before, data.up) - data.change) / spread

    undetermined = ConfigError(
        f"the {n} pulses do not determine the {len(parameters)} parameters of {type(model.template).__name__}; measure "
        "more states, or take a device with fewer parameters"
    )
    if n <= len(parameters):
        raise undetermined
    scaled = np.clip(start, low + 1e-6 * (high - low), high - 1e-6 * (high - low)) / size + shift
    bounds = (low / size + shift, high / size + shift)
    # The core computes in float32, so differences must not be too small.
    found = _scipy().least_squares(residuals, scaled, bounds=bounds, x_scale="jac", diff_step=1e-3, jac="3-point")
    norms = np.linalg.norm(found.jac, axis=0)
    if not (found.success and (norms > 0.0).all() and np.linalg.cond(found.jac / norms) < 1e4):
        raise undetermined
    covariance = np.linalg.inv(found.jac.T @ found.jac) * (2.0 * found.cost / (n - len(parameters)))
    return (found.x - shift) * size, np.sqrt(covariance.diagonal()) * size


# ---- whole traces


def fit_measurements(
    parameters: Mapping[str, float | tuple[float, float, float]],
    pulse_data: ArrayLike | tuple[ArrayLike, ...],
    response_data: ArrayLike | tuple[ArrayLike, ...],
    device_config: Any,
    suppress_device_noise: bool = True,
    max_pulses: int = 1,
    n_traces: int = 1,
    fit_weights: ArrayLike | None = None,
    method: str = "powell",
    verbose: bool = False,
    **fit_kwargs: Any,
) -> tuple[Any, Any, tuple[Float64, ...] | Float64]:
    """Fit fields of a device to whole traces, which are simulated pulse by pulse.

    Args:
        parameters: fields of the device by name: a number stays, (start, smallest, largest) varies.
        pulse_data: pulses before each reading, [readings] or [readings, devices]: whole numbers, negative for down.
            The first is not fired: its reading is where the trace starts. Several traces in a tuple.
        response_data: the readings, of the shape of the pulses or with one trace for each device.
        device_config: a device, or a configuration, which is used as it is.
        suppress_device_noise: fit without any spread, fields that end in `_dtod` or `_std`.
        max_pulses: largest number of pulses before a reading.
        n_traces: simulations to average over, for devices with noise.
        fit_weights: factors on the deviations, of the shape of one trace.
        method: of `scipy.optimize.minimize`; `leastsq` and `least_squares` are SciPy's least squares.
        verbose: print the sum of squares of each evaluation.
        fit_kwargs: for SciPy.

    Returns:
        SciPy's result, with the values by name in `params`; the fitted configuration; the simulated traces.

    Raises:
        ConfigError: a name is no field of the device, or the data do not fit together.
    """
    optimize, config = _scipy(), _trace_config(device_config, suppress_device_noise)
    pulses, responses = _traces(pulse_data, response_data, max_pulses)
    ranges = {name: value for name, value in parameters.items() if isinstance(value, Sequence)}
    fixed = {name: value for name, value in parameters.items() if name not in ranges}
    if not ranges:
        raise ConfigError("no parameter varies; give at least one as (start, smallest, largest)")
    starts = [start for start, _, _ in ranges.values()]
    bounds = [(low, high) for _, low, high in ranges.values()]

    def named(values: Float64) -> dict[str, Any]:
        return {**fixed, **dict(zip(ranges, map(float, values), strict=True))}

    def deviations(values: Float64) -> Float64:
        found = model_response(
            named(values), pulses, responses, config, n_traces, fit_weights, verbose, only_response=False
        )
        assert isinstance(found, np.ndarray)
        return found

    if method in ("leastsq", "least_squares"):
        options = {"diff_step": 1e-3, **fit_kwargs}
        result = optimize.least_squares(deviations, starts, bounds=tuple(zip(*bounds, strict=True)), **options)
    else:
        squares = lambda values: float(np.sum(deviations(values) ** 2))
        result = optimize.minimize(squares, starts, method=method, bounds=bounds, **fit_kwargs)
    result.params = named(result.x)
    fitted = _with_fields(config, result.params)
    response = model_response(result.params, pulses, responses, config, n_traces, verbose=False, only_response=True)
    return result, fitted, response if isinstance(response_data, tuple) else response[0]


def model_response(
    params: Mapping[str, float],
    pulse_data: ArrayLike | tuple[ArrayLike, ...],
    response_data: ArrayLike | tuple[ArrayLike, ...],
    rpu_config: Any,
    n_traces: int = 1,
    fit_weights: ArrayLike | None = None,
    verbose: bool = True,
    only_response: bool = False,
) -> Float64 | tuple[Float64, ...]:
    """Simulate traces of a device with some fields changed.

    Args:
        params: fields of the device by name.
        pulse_data, response_data: see `fit_measurements`.
        rpu_config: with the device.
        n_traces: simulations to average over.
        fit_weights: factors on the deviations.
        verbose: print the sum of squares.
        only_response: return the traces instead of the deviations.

    Returns:
        The deviations of all readings from the simulation in one vector, or the simulated traces, each of the shape
        [readings, devices].
    """
    pulses, responses = _traces(pulse_data, response_data, None)
    config = _with_fields(rpu_config, params)
    simulated = tuple(_trace(config, p, r, n_traces) for p, r in zip(pulses, responses, strict=True))
    if only_response:
        return simulated
    factors = 1.0 if fit_weights is None else np.atleast_2d(np.asarray(fit_weights, np.float64).T).T
    parts = [((s - r) * factors).ravel() for s, r in zip(simulated, responses, strict=True)]
    found: Float64 = np.concatenate(parts)
    if verbose:
        print(f"{dict(params)}: {np.sum(found**2):.6g}")
    return found


def _trace(config: Any, pulses: NDArray[np.int64], response: Float64, n_traces: int) -> Float64:
    """Return one trace, [readings, devices]; devices are rows of a tile and its columns are the simulations."""
    devices = response.shape[1]
    tile = rpu_sim.Tile(devices, n_traces, config, seed=0)
    tile.set_weights(np.repeat(response[0][:, None], n_traces, axis=1).astype(np.float32))
    trace = np.empty_like(response)
    trace[0] = np.mean(tile.get_weights(), axis=1)
    x = np.ones((1, n_traces), np.float32)
    for reading, count in enumerate(pulses[1:], start=1):
        for pulse in range(int(np.abs(count).max(initial=0))):
            tile.update(x, np.where(np.abs(count) > pulse, -np.sign(count), 0).astype(np.float32)[None], 1.0)
        trace[reading] = np.mean(tile.get_weights(), axis=1)
    return trace


def _traces(
    pulse_data: ArrayLike | tuple[ArrayLike, ...], response_data: ArrayLike | tuple[ArrayLike, ...], most: int | None
) -> tuple[tuple[NDArray[np.int64], ...], tuple[Float64, ...]]:
    """Return the traces as arrays, all of them [readings, devices]."""
    if isinstance(pulse_data, tuple) != isinstance(response_data, tuple):
        raise ConfigError("pulses and responses must both be arrays, or both tuples of arrays")
    as_tuples = [data if isinstance(data, tuple) else (data,) for data in (pulse_data, response_data)]
    pulses, responses = [], []
    for given, measured in zip(*as_tuples, strict=True):
        response = np.asarray(measured, np.float64)
        response = response[:, None] if response.ndim == 1 else response
        count = np.asarray(given, np.float64)
        count = count[:, None] if count.ndim == 1 else count
        if count.shape[0] != response.shape[0] or count.shape[1] not in (1, response.shape[1]):
            raise ConfigError(f"{count.shape} pulses do not go with {response.shape} readings")
        if not np.isfinite(response).all() or (count != np.round(count)).any():
            raise ConfigError("readings must be finite, and pulses whole numbers")
        if most is not None and np.abs(count).max() > most:
            raise ConfigError(f"there are readings after {np.abs(count).max():.0f} pulses; raise max_pulses")
        pulses.append(np.broadcast_to(count, response.shape).astype(np.int64))
        responses.append(response)
    return tuple(pulses), tuple(responses)


def _trace_config(device_config: Any, suppress_noise: bool) -> Any:
    config = device_config.mutable_copy()
    if isinstance(config, PulsedDevice):
        config = SingleRPUConfig(device=config, update=_one_pulse_update())
    if suppress_noise:
        _silence(config.device)
    return config


def _with_fields(rpu_config: Any, fields: Mapping[str, Any]) -> Any:
    config = rpu_config.mutable_copy()
    for name, value in fields.items():
        setattr(config.device, name, value)
    return config


def _scipy() -> Any:
    try:
        from scipy import optimize
    except ImportError:
        raise ImportError("fits need SciPy; install it with pip install 'aihw-torch[fitting]'") from None
    return optimize
