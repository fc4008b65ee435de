"""What a fit varies for each device: parameters that are independent of each other, and the device that they make."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aihw_torch.config import (
    ConstantStepDevice,
    ExpStepDevice,
    LinearStepDevice,
    PiecewiseStepDevice,
    PowStepDevice,
    PulsedDevice,
    SoftBoundsDevice,
)
from aihw_torch.errors import ConfigError
from aihw_torch.utils.single_pulses import silence

Float64 = NDArray[np.float64]


class Parameter(NamedTuple):
    """One parameter of a fit: where it starts, and its bounds."""

    name: str
    start: float
    low: float
    high: float


class Data(NamedTuple):
    """What starting values come from: steps in units of weight, and the weights of the limits."""

    before: Float64
    up: NDArray[np.bool_]
    change: Float64
    w_range: tuple[float, float]

    def mean_step(self, up: bool) -> float:
        """Mean step of one direction, positive where the device follows its pulses."""
        step = float(np.mean(self.change[self.up == up])) * (1.0 if up else -1.0)
        if not step > 0.0:
            raise ConfigError(f"{'up' if up else 'down'} pulses do not move the weight {'up' if up else 'down'}")
        return step


@dataclass(frozen=True)
class StepModel:
    """The parameters of a fit and how they make a device.

    Attributes:
        template: the device with its fixed fields.
        parameters: what varies.
        fields: the fields of the device that follow from values of the parameters, by name.
    """

    template: PulsedDevice
    parameters: tuple[Parameter, ...]
    fields: Callable[[dict[str, float]], dict[str, Any]]

    def device(self, values: Float64) -> PulsedDevice:
        """Return the device of some values, without any spread."""
        device = copy.deepcopy(self.template)
        silence(device)
        for name, value in self.fields(self.by_name(values)).items():
            setattr(device, name, value)
        return device

    def by_name(self, values: Float64) -> dict[str, float]:
        """Return values with the names of their parameters."""
        return {parameter.name: float(value) for parameter, value in zip(self.parameters, values, strict=True)}


def model_of(device: type[PulsedDevice] | PulsedDevice, data: Data, nodes: int) -> StepModel:
    """Return what to vary for a device, or for an object of it whose other fields stay.

    Raises:
        ConfigError: the device has no fit, or the data do not go with it.
    """
    low, high = data.w_range
    if not low < 0.0 < high:
        raise ConfigError(f"the range of the weights must lie around 0, {data.w_range} does not")
    template = device() if isinstance(device, type) else copy.deepcopy(device)
    make = next((make for cls, make in _MODELS.items() if type(template) is cls), None)
    if make is None:
        known = ", ".join(cls.__name__ for cls in _MODELS)
        raise ConfigError(f"{type(template).__name__} has no fit; take one of {known}, or TableStepDevice")
    template.w_min, template.w_max = low, high
    return make(template, data, nodes)


def _steps(data: Data) -> tuple[Parameter, ...]:
    """The steps up and down, instead of the larger one and its asymmetry, which has a kink at 0."""
    means = {name: data.mean_step(name == "up") for name in ("up", "down")}
    return tuple(Parameter(f"step_{name}", mean, 1e-3 * mean, 1e3 * mean) for name, mean in means.items())


def _split(up: float, down: float) -> tuple[float, float]:
    """Return the larger of two, and the asymmetry that shrinks the other: positive for down."""
    return max(up, down), 1.0 - down / up if up >= down else up / down - 1.0


def _step_fields(values: dict[str, float]) -> dict[str, Any]:
    dw_min, up_down = _split(values["step_up"], values["step_down"])
    return {"dw_min": dw_min, "up_down": up_down}


def _bounds(data: Data) -> tuple[Parameter, ...]:
    """The bounds that soft steps approach, outside of what was measured."""
    low, high = data.w_range
    return (Parameter("w_max", 1.2 * high, high, 100.0 * high), Parameter("w_min", 1.2 * low, 100.0 * low, low))


def _constant(template: PulsedDevice, data: Data, nodes: int) -> StepModel:
    return StepModel(template, _steps(data), _step_fields)


def _linear(template: PulsedDevice, data: Data, nodes: int) -> StepModel:
    gammas = (Parameter("gamma_up", 0.1, -2.0, 2.0), Parameter("gamma_down", 0.1, -2.0, 2.0))

    def fields(values: dict[str, float]) -> dict[str, Any]:
        gamma = {name: values[name] for name in ("gamma_up", "gamma_down")}
        return {**_step_fields(values), **gamma, "allow_increasing": min(gamma.values()) < 0.0}

    return StepModel(template, (*_steps(data), *gammas), fields)


def _soft_bounds(template: PulsedDevice, data: Data, nodes: int) -> StepModel:
    def fields(values: dict[str, float]) -> dict[str, Any]:
        return {**_step_fields(values), "w_max": values["w_max"], "w_min": values["w_min"]}

    return StepModel(template, (*_steps(data), *_bounds(data)), fields)


def _power(template: PulsedDevice, data: Data, nodes: int) -> StepModel:
    gammas = (Parameter("gamma_up", 1.0, 0.01, 20.0), Parameter("gamma_down", 1.0, 0.01, 20.0))

    def fields(values: dict[str, float]) -> dict[str, Any]:
        pow_gamma, pow_up_down = _split(values["gamma_up"], values["gamma_down"])
        bounds = {name: values[name] for name in ("w_max", "w_min")}
        return {**_step_fields(values), **bounds, "pow_gamma": pow_gamma, "pow_up_down": pow_up_down}

    return StepModel(template, (*_steps(data), *_bounds(data), *gammas), fields)


def _exponential(template: PulsedDevice, data: Data, nodes: int) -> StepModel:
    """The exponentials by the fraction that they take off the step at the far bound; `a` and `b` only name the axis."""
    assert isinstance(template, ExpStepDevice)
    a, b = template.a, template.b
    shapes = tuple(
        Parameter(f"{what}_{name}", start, 0.0, most)
        for name in ("up", "down")
        for what, start, most in (("drop", 0.3, 20.0), ("gamma", 5.0, 60.0))
    )

    def fields(values: dict[str, float]) -> dict[str, Any]:
        gamma_up, gamma_down = values["gamma_up"], values["gamma_down"]
        amplitudes = {
            "A_up": values["drop_up"] * float(np.exp(-gamma_up * (b + a))),
            "A_down": values["drop_down"] * float(np.exp(gamma_down * (b - a))),
        }
        return {**_step_fields(values), **amplitudes, "gamma_up": gamma_up, "gamma_down": gamma_down}

    return StepModel(template, (*_steps(data), *shapes), fields)


def _piecewise(template: PulsedDevice, data: Data, nodes: int) -> StepModel:
    if nodes < 1:
        raise ConfigError(f"a piecewise step needs at least one node, not {nodes}")
    unit = 0.5 * (data.mean_step(True) + data.mean_step(False))
    names = [f"{name}_{i}" for name in ("up", "down") for i in range(nodes)]

    def fields(values: dict[str, float]) -> dict[str, Any]:
        curves = {name: [values[f"{name}_{i}"] for i in range(nodes)] for name in ("up", "down")}
        return {"dw_min": unit, "up_down": 0.0, **{f"piecewise_{name}": curve for name, curve in curves.items()}}

    middle = {(nodes - 1) // 2, nodes // 2}  # where the mean step must be positive
    lows = [0.01 if i in middle else -20.0 for _ in range(2) for i in range(nodes)]
    return StepModel(
        template, tuple(Parameter(name, 1.0, low, 20.0) for name, low in zip(names, lows, strict=True)), fields
    )


_MODELS: dict[type[PulsedDevice], Callable[[PulsedDevice, Data, int], StepModel]] = {
    ConstantStepDevice: _constant,
    LinearStepDevice: _linear,
    SoftBoundsDevice: _soft_bounds,
    ExpStepDevice: _exponential,
    PowStepDevice: _power,
    PiecewiseStepDevice: _piecewise,
}
