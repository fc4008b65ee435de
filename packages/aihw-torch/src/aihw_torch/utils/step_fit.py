"""Fit of a device to single measured pulses."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import rpu_sim
from aihw_torch.config import PulsedDevice, SingleRPUConfig
from aihw_torch.errors import ConfigError
from aihw_torch.utils.preset_file import save_preset
from aihw_torch.utils.scipy_optimize import optimize
from aihw_torch.utils.single_pulses import one_pulse_update, silence
from aihw_torch.utils.step_models import Data, StepModel, model_of
from rpu_sim.table import Steps, device_gains, read_csv

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
    silence(device)
    tile = rpu_sim.Tile(len(before), 1, SingleRPUConfig(device=device, update=one_pulse_update()), seed=0)
    tile.set_weights(before.astype(np.float32)[:, None])
    start = np.array(tile.get_weights())
    tile.update(np.ones((1, 1), np.float32), np.where(up, -1.0, 1.0).astype(np.float32)[None], 1.0)
    change: Float64 = (np.array(tile.get_weights()) - start)[:, 0].astype(np.float64)
    return change


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
    found = optimize.least_squares(residuals, scaled, bounds=bounds, x_scale="jac", diff_step=1e-3, jac="3-point")
    norms = np.linalg.norm(found.jac, axis=0)
    if not (found.success and (norms > 0.0).all() and np.linalg.cond(found.jac / norms) < 1e4):
        raise undetermined
    covariance = np.linalg.inv(found.jac.T @ found.jac) * (2.0 * found.cost / (n - len(parameters)))
    return (found.x - shift) * size, np.sqrt(covariance.diagonal()) * size
