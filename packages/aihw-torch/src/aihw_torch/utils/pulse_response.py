"""What pulses do to devices: traces, their statistics, and plots; `aihw_torch.utils.visualization` has them too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from aihw_torch.config import (
    BoundManagementType,
    IOParameters,
    NoiseManagementType,
    SingleRPUConfig,
    UnitCell,
    UnitCellRPUConfig,
)
from aihw_torch.errors import ConfigError, DeviceError
from aihw_torch.tiles import AnalogTile
from aihw_torch.utils.pyplot import plt
from aihw_torch.utils.single_pulses import one_pulse_update
from rpu_sim.config.base import ConfigBase, walk

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = NDArray[np.float32]


# ---- computing


def compute_pulse_response(analog_tile: AnalogTile, direction: ArrayLike, use_forward: bool = False) -> Array:
    """Pulse all devices of a tile at once and read them after each pulse.

    Args:
        analog_tile: a tile whose updates are single pulses, as that of `get_tile_for_plotting`.
        direction: +1 (up) or -1 (down) for each pulse.
        use_forward: read with the forward pass of the tile (noise, converters) instead of exactly.

    Returns:
        The weights after each pulse, [pulses, out, in].
    """
    directions = np.asarray(direction, dtype=np.float32)
    x, d = torch.ones(1, analog_tile.in_size), torch.ones(1, analog_tile.out_size)
    identity = torch.eye(analog_tile.in_size)
    trace = np.empty((len(directions), analog_tile.out_size, analog_tile.in_size), dtype=np.float32)
    with torch.no_grad():
        for pulse, sign in enumerate(directions):
            analog_tile.update(x, -float(sign) * d, 1.0)
            trace[pulse] = analog_tile(identity).T if use_forward else analog_tile.get_weights()[0]
    return trace


def compute_pulse_statistics(
    w_nodes: ArrayLike, w_trace: ArrayLike, direction: ArrayLike, up_direction: bool, smoothness: float = 0.5
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Estimate the mean and the spread of one pulse's step as functions of the weight it starts from.

    The steps of all devices are averaged with a Gaussian kernel around each node, whose width is `smoothness` times the
    spread of the nodes, divided by the number of nodes to the power of 1/5.

    Args:
        w_nodes: weights at which to estimate, [nodes].
        w_trace: weights after each pulse, [pulses, ...].
        direction: the direction of each pulse.
        up_direction: which of the two directions to look at.
        smoothness: see above; larger is smoother.

    Returns:
        The mean and the standard deviation of the step, both [nodes].
    """
    nodes = np.asarray(w_nodes, dtype=np.float64)
    trace = np.asarray(w_trace, dtype=np.float64).reshape(len(np.asarray(w_trace)), -1)
    wanted = (np.asarray(direction)[1:] > 0) == up_direction
    start, step = trace[:-1][wanted].ravel(), np.diff(trace, axis=0)[wanted].ravel()
    width = max(smoothness * float(nodes.std()) / len(nodes) ** 0.2, np.finfo(np.float32).tiny)
    mean, std = np.empty_like(nodes), np.empty_like(nodes)
    for i, node in enumerate(nodes):
        distance = 0.5 * ((start - node) / width) ** 2
        kernel = np.exp(-(distance - distance.min()))
        mean[i] = np.average(step, weights=kernel)
        std[i] = np.sqrt(np.average((step - mean[i]) ** 2, weights=kernel))
    return mean, std


def get_tile_for_plotting(
    rpu_config: Any, n_traces: int, use_cuda: bool = False, noise_free: bool = False, w_init: float | None = None
) -> AnalogTile:
    """Return a tile of `n_traces` devices, [n_traces, 1], whose every update is one pulse.

    Args:
        rpu_config: the configuration with the device; the tile takes a changed copy.
        n_traces: number of devices.
        use_cuda: must be False, tiles are on the CPU.
        noise_free: without noise from pulse to pulse and without write noise; devices still differ.
        w_init: initial weight; by default the device's lower bound `w_min`, or 0 where it has none.
    """
    if use_cuda:
        raise DeviceError("analog tiles have no CUDA kernels in this version; use use_cuda=False")
    config = rpu_config.mutable_copy()
    config.update = one_pulse_update()
    if noise_free:
        for device in walk(config.device):
            for name in ("dw_min_std", "write_noise_std", "dw_min_std_add", "dw_min_std_slope"):
                if hasattr(device, name):
                    setattr(device, name, 0.0)
    tile = AnalogTile(n_traces, 1, config)
    tile.set_weights(torch.full((n_traces, 1), getattr(config.device, "w_min", 0.0) if w_init is None else w_init))
    return tile


def estimate_n_steps(rpu_config: Any) -> int:
    """Return the number of pulses from the lower to the upper bound at the nominal step size; 1000 for unit cells."""
    device = rpu_config.device
    if isinstance(device, UnitCell):
        return 1000
    granularity = AnalogTile(1, 1, rpu_config).tile.granularity
    if not hasattr(device, "w_min") or granularity <= 0.0:
        raise ConfigError(f"{type(device).__name__} has no bounds and no step size; give the number of pulses n_steps")
    steps: int = max(1, round((device.w_max - device.w_min) / granularity))
    return steps


def _up_and_down(n_steps: int, n_loops: int) -> NDArray[np.float64]:
    return np.tile(np.repeat([1.0, -1.0], n_steps), n_loops)


# ---- plotting


def plot_pulse_response(
    analog_tile: AnalogTile, direction: ArrayLike, use_forward: bool = False, axes: Axes | None = None
) -> Array:
    """Plot the weights of all devices of a tile over the pulses; return what `compute_pulse_response` does."""
    trace = compute_pulse_response(analog_tile, direction, use_forward)
    axes = plt.gca() if axes is None else axes
    axes.plot(trace.reshape(len(trace), -1), linewidth=1)
    axes.set_xlim(0, len(trace))
    axes.set_ylabel("weight")
    axes.set_xlabel("pulse")
    return trace


def plot_pulse_statistics(
    w_trace: ArrayLike,
    direction: ArrayLike,
    up_direction: bool,
    num_nodes: int = 100,
    smoothness: float = 0.5,
    axes: Axes | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Plot the mean step of one direction over the weight, with a band of one standard deviation.

    Returns:
        The weights, the mean steps and their standard deviations, each [num_nodes].
    """
    trace = np.asarray(w_trace)
    w_nodes = np.linspace(trace.min(), trace.max(), num_nodes)
    mean, std = compute_pulse_statistics(w_nodes, trace, direction, up_direction, smoothness)
    axes = plt.gca() if axes is None else axes
    (line,) = axes.plot(w_nodes, mean, label="up" if up_direction else "down")
    axes.fill_between(w_nodes, mean - std, mean + std, alpha=0.2, color=line.get_color())
    axes.set_xlabel("weight")
    axes.set_ylabel("step of one pulse")
    return w_nodes, mean, std


def plot_response_overview(
    rpu_config: Any,
    n_loops: int = 5,
    n_steps: int | None = None,
    n_traces: int = 5,
    use_cuda: bool = False,
    smoothness: float = 0.1,
    use_forward: bool = False,
) -> Figure:
    """Plot how devices answer to up and down pulses.

    Three rows: some devices with all noise, the same devices without noise, and the step of one pulse over the weight.

    Args:
        rpu_config: the configuration with the device.
        n_loops: how often to go up and down.
        n_steps: pulses in each direction; by default what leads from bound to bound.
        n_traces: number of devices.
        use_cuda: must be False.
        smoothness: of the third row (see `compute_pulse_statistics`).
        use_forward: read with the noise of the forward pass in the first row.
    """
    n_steps = estimate_n_steps(rpu_config) if n_steps is None else n_steps
    direction = _up_and_down(n_steps, n_loops)
    figure, (noisy, noise_free, statistics) = plt.subplots(3, 1, figsize=(7, 8), layout="constrained")

    # Nothing is drawn from torch in between, so both tiles have the same seed and hence the same devices.
    trace = plot_pulse_response(get_tile_for_plotting(rpu_config, n_traces, use_cuda), direction, use_forward, noisy)
    plot_pulse_response(
        get_tile_for_plotting(rpu_config, n_traces, use_cuda, noise_free=True), direction, axes=noise_free
    )
    for up_direction in (True, False):
        plot_pulse_statistics(trace, direction, up_direction, smoothness=smoothness, axes=statistics)
    noisy.set_title(f"{type(rpu_config.device).__name__}: {n_traces} devices")
    noise_free.set_title("without noise from pulse to pulse")
    statistics.legend()
    return figure


def plot_device(device: Any, w_noise: float = 0.0, **kwargs: Any) -> Figure:
    """Plot the overview of `plot_response_overview` for a device or a unit cell.

    Args:
        device: such as `ConstantStepDevice()`.
        w_noise: standard deviation of the noise with which the weights are read.
        kwargs: further arguments of `plot_response_overview`.
    """
    return plot_response_overview(config_of(device, w_noise), use_forward=w_noise > 0.0, **kwargs)


def plot_device_compact(
    device: Any,
    w_noise: float = 0.0,
    n_steps: int | None = None,
    n_traces: int = 3,
    n_loops: int = 2,
    w_init: float | None = None,
    use_cuda: bool = False,
    axes: Sequence[Axes] | None = None,
    **plot_kwargs: Any,
) -> Figure:
    """Plot the traces of some devices, and beside them the step of one pulse over the weight.

    Args:
        device: a device or a unit cell.
        w_noise: standard deviation of the noise with which the weights are read.
        n_steps: pulses in each direction; by default what leads from bound to bound.
        n_traces: number of devices.
        n_loops: how often to go up and down.
        w_init: initial weight, by default the lower bound.
        use_cuda: must be False.
        axes: two axes to draw into, those of the traces and those of the steps; by default of a new figure.
        plot_kwargs: for the lines of the traces.

    Returns:
        The figure.
    """
    config = config_of(device, w_noise)
    direction = _up_and_down(estimate_n_steps(config) if n_steps is None else n_steps, n_loops)
    tile = get_tile_for_plotting(config, n_traces, use_cuda, w_init=w_init)
    trace = compute_pulse_response(tile, direction, use_forward=w_noise > 0.0)
    if axes is None:
        shares = {"width_ratios": (3, 1)}
        _, axes = plt.subplots(1, 2, figsize=(7, 3), sharey=True, gridspec_kw=shares, layout="constrained")
    traces, steps = axes
    traces.plot(trace.reshape(len(trace), -1), **{"linewidth": 1, **plot_kwargs})
    traces.set_xlabel("pulse")
    traces.set_ylabel("weight")
    nodes = np.linspace(trace.min(), trace.max(), 50)
    for up in (True, False):
        mean, std = compute_pulse_statistics(nodes, trace, direction, up, smoothness=0.1)
        (line,) = steps.plot(np.abs(mean), nodes, label="up" if up else "down")
        steps.fill_betweenx(nodes, np.abs(mean) - std, np.abs(mean) + std, alpha=0.2, color=line.get_color())
    steps.set_xlabel("step of one pulse")
    steps.legend(fontsize="small")
    return cast("Figure", traces.figure)


def plot_device_symmetry(
    device: Any,
    w_noise: float = 0.0,
    n_pulses: int = 10000,
    n_traces: int = 3,
    use_cuda: bool = False,
    w_init: float = 1.0,
) -> Figure:
    """Plot how alternating up and down pulses bring devices to their symmetry points.

    Args:
        device: a device or a unit cell.
        w_noise: standard deviation of the noise with which the weights are read.
        n_pulses: number of pulses.
        n_traces: number of devices.
        use_cuda: must be False.
        w_init: initial weight, as far as the bounds allow.
    """
    tile = get_tile_for_plotting(config_of(device, w_noise), n_traces, use_cuda, w_init=w_init)
    figure, axes = plt.subplots(layout="constrained")
    plot_pulse_response(tile, np.resize([1.0, -1.0], n_pulses), use_forward=w_noise > 0.0, axes=axes)
    axes.set_title(f"{type(device).__name__}: up and down in turns")
    return figure


def config_of(device: Any, w_noise: float = 0.0) -> Any:
    """Return a configuration with a device or a unit cell, read with nothing but noise of `w_noise`.

    A configuration is returned as it is.
    """
    if not isinstance(device, ConfigBase) or hasattr(device, "forward"):
        return device
    forward = IOParameters(
        inp_res=-1.0,
        out_res=-1.0,
        out_noise=w_noise,  # the same as noise of the weight, for one column that is read with an input of 1
        noise_management=NoiseManagementType.NONE,
        bound_management=BoundManagementType.NONE,
    )
    make: Any = UnitCellRPUConfig if isinstance(device, UnitCell) else SingleRPUConfig
    return make(device=device, forward=forward)
