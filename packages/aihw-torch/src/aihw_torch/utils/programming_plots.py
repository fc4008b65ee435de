"""Plots of programming errors and drift; `aihw_torch.utils.visualization` has them too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from aihw_inference import BaseNoiseModel, PCMLikeNoiseModel, Philox, program
from aihw_torch.config import InferenceRPUConfig
from aihw_torch.errors import DeviceError, StateError
from aihw_torch.inference import InferenceTile, inference_tiles
from aihw_torch.tiles import AnalogTile
from aihw_torch.utils.pulse_response import config_of
from aihw_torch.utils.pyplot import plt

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = NDArray[np.float32]

_DAY, _YEAR = 86400.0, 365.0 * 86400.0


def programming_error(
    config: Any,
    w_range: tuple[float, float] = (-1.0, 1.0),
    w_init: float | None = None,
    n_rows: int = 100,
    realistic_read: bool = False,
    n_bins: int = 101,
    t_inference: float | None = None,
    **kwargs: Any,
) -> tuple[Array, Array]:
    """Program equidistant weights into devices and return what is missing.

    Args:
        config: a device, a unit cell, or a configuration. With an `InferenceRPUConfig` the errors are those of its
            noise model; pulsed devices are programmed in a closed loop.
        w_range: smallest and largest weight.
        w_init: weight of pulsed devices before; by default 0.
        n_rows: number of devices for each weight.
        realistic_read: estimate the weights from noisy products instead of looking at the array.
        n_bins: number of weights.
        t_inference: seconds of drift after programming, of inference tiles.
        kwargs: options of the closed loop, see `AnalogTile.program_weights`.

    Returns:
        The weights [n_bins], and the errors [n_rows, n_bins] in percent of the largest weight.
    """
    targets = torch.linspace(*w_range, n_bins)
    matrix = targets.repeat(n_rows, 1)
    if isinstance(config, InferenceRPUConfig):
        tile = InferenceTile(n_rows, n_bins, config)
        tile.set_weights(matrix, apply_weight_scaling=False)
        tile.eval()
        tile.program_weights()
        if t_inference is not None:
            tile.drift_weights(t_inference)
        reached = tile.array_weight()
        if realistic_read:
            with torch.no_grad():
                reached = tile(torch.eye(n_bins)).T
    else:
        if t_inference is not None:
            raise StateError(
                "only inference tiles drift after programming; leave t_inference out, or use tile.drift_weights"
            )
        pulsed = AnalogTile(n_rows, n_bins, config_of(config))
        pulsed.set_weights(torch.full_like(matrix, w_init or 0.0), apply_weight_scaling=False)
        pulsed.program_weights(target=matrix, **kwargs)
        reached = pulsed.read_weights() if realistic_read else pulsed._read_physical()
    errors: Array = (100.0 * (reached - matrix) / max(map(abs, w_range))).numpy()
    return targets.numpy(), errors


def plot_programming_error(
    config: Any,
    w_range: tuple[float, float] = (-1.0, 1.0),
    w_init: float | None = None,
    n_rows: int = 100,
    realistic_read: bool = False,
    n_bins: int = 101,
    use_cuda: bool = False,
    label: str | None = None,
    axes: Axes | None = None,
    t_inference: float | None = None,
    **kwargs: Any,
) -> Axes:
    """Plot the mean error of programming over the weight, with a band of one standard deviation.

    The arguments are those of `programming_error`; `use_cuda` must be False.
    """
    if use_cuda:
        raise DeviceError("analog tiles have no CUDA kernels in this version; use use_cuda=False")
    targets, errors = programming_error(config, w_range, w_init, n_rows, realistic_read, n_bins, t_inference, **kwargs)
    return _plot_errors(targets, errors.mean(0), errors.std(0), label, axes)


def plot_model_programming_error(
    analog_model: nn.Module,
    n_bins: int = 51,
    apply_weight_scaling: bool = False,
    axes: Axes | None = None,
    **kwargs: Any,
) -> Axes:
    """Plot the errors of the programmed tiles of a model over the weight, as percentages of the largest weight.

    Args:
        analog_model: with inference tiles that are programmed, perhaps drifted.
        n_bins: number of intervals of weights whose errors are averaged.
        apply_weight_scaling: plot logical weights instead of those in units of the arrays.
        axes: where to draw.
        kwargs: for the lines of matplotlib.

    Raises:
        StateError: a tile is not programmed, or there is none.
    """
    tiles = list(inference_tiles(analog_model))
    if not tiles or any(tile.current_program() is None for _, tile in tiles):
        raise StateError("the model is not programmed; call program_analog_weights(model) first")
    for name, tile in tiles:
        target, reached = tile.physical_weight().detach(), tile.array_weight()
        scales = tile.get_scales()
        if apply_weight_scaling and scales is not None:
            target, reached = (values * scales.view(-1, 1) for values in (target, reached))
        largest = target.abs().max().item() or 1.0
        error = (100.0 * (reached - target) / largest).flatten().numpy()
        edges = np.linspace(-largest, largest, n_bins + 1)
        place = np.clip(np.digitize(target.flatten().numpy(), edges) - 1, 0, n_bins - 1)
        counts = np.bincount(place, minlength=n_bins)
        seen = counts > 0
        mean = np.bincount(place, error, n_bins)[seen] / counts[seen]
        square = np.bincount(place, error**2, n_bins)[seen] / counts[seen]
        spread = np.sqrt(np.maximum(square - mean**2, 0.0))
        axes = _plot_errors((0.5 * (edges[1:] + edges[:-1]))[seen], mean, spread, name or "model", axes, **kwargs)
    assert axes is not None
    return axes


def plot_weight_drift(
    noise_model: BaseNoiseModel | None = None,
    t_inference_list: Sequence[float] | None = None,
    w_inits: Sequence[float] | None = None,
    n_repeats: int = 25,
) -> Figure:
    """Plot how weights drift: the mean over devices, with a band of one standard deviation, over the logarithm of time.

    Args:
        noise_model: the devices, by default `PCMLikeNoiseModel()`.
        t_inference_list: times in seconds after programming, by default from 0 to a year; 0 is drawn at 1.
        w_inits: target weights, by default nine from -1 to 1.
        n_repeats: devices for each weight.
    """
    times = [0.0, *np.geomspace(1.0, _YEAR, 15)] if t_inference_list is None else list(t_inference_list)
    weights = np.linspace(-1.0, 1.0, 9) if w_inits is None else np.asarray(w_inits, dtype=np.float64)
    model = PCMLikeNoiseModel() if noise_model is None else noise_model
    devices = program(torch.tensor(weights, dtype=torch.float32), model, rng=Philox(0), n_chips=n_repeats)
    read = devices.weights_at([float(t) for t in times]).numpy()  # [times, repeats, weights]
    figure, axes = plt.subplots(layout="constrained")
    shown = np.maximum(times, 1.0)
    for i, weight in enumerate(weights):
        mean, std = read[..., i].mean(1), read[..., i].std(1)
        (line,) = axes.plot(shown, mean, label=f"{weight:g}")
        axes.fill_between(shown, mean - std, mean + std, alpha=0.2, color=line.get_color())
    axes.set_xscale("log")
    axes.set_xlabel("time after programming [s]")
    axes.set_ylabel("weight")
    axes.set_title(type(model).__name__)
    axes.legend(title="target", fontsize="small")
    return figure


def _plot_errors(
    targets: NDArray[Any], mean: NDArray[Any], std: NDArray[Any], label: str | None, axes: Axes | None, **kwargs: Any
) -> Axes:
    axes = plt.gca() if axes is None else axes
    (line,) = axes.plot(targets, mean, label=label, **kwargs)
    axes.fill_between(targets, mean - std, mean + std, alpha=0.2, color=line.get_color())
    axes.set_xlabel("target weight")
    axes.set_ylabel("error [% of the largest weight]")
    if label is not None:
        axes.legend(fontsize="small")
    return axes
