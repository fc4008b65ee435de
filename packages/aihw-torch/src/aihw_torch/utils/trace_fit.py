"""Fit of a device to whole traces, which are simulated pulse by pulse."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

import rpu_sim
from aihw_torch.config import PulsedDevice, SingleRPUConfig
from aihw_torch.errors import ConfigError
from aihw_torch.utils.scipy_optimize import optimize
from aihw_torch.utils.single_pulses import one_pulse_update, silence

Float64 = NDArray[np.float64]


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
    config = _trace_config(device_config, suppress_device_noise)
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
        config = SingleRPUConfig(device=config, update=one_pulse_update())
    if suppress_noise:
        silence(config.device)
    return config


def _with_fields(rpu_config: Any, fields: Mapping[str, Any]) -> Any:
    config = rpu_config.mutable_copy()
    for name, value in fields.items():
        setattr(config.device, name, value)
    return config
