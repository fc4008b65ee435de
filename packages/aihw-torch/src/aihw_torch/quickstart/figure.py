"""The picture: how training went, and how the devices answer to pulses."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import numpy as np
import torch

from aihw_torch.quickstart.digits import Result
from aihw_torch.utils.visualization import compute_pulse_response, estimate_n_steps, get_tile_for_plotting

if TYPE_CHECKING:
    from matplotlib.axes import Axes

N_DEVICES = 50


def draw(results: Sequence[Result], devices: Sequence[Result], path: Path, seed: int) -> None:
    """Write the figure: learning curves of all results, and the pulse response of the devices of some."""
    plt.switch_backend("Agg")
    figure, axes = plt.subplots(1, 2 + len(devices), figsize=(4 * (2 + len(devices)), 3.6), layout="constrained")
    for result in results:
        epochs = np.arange(1, len(result.losses) + 1)
        axes[0].plot(epochs, result.losses, marker=".", label=result.name)
        axes[1].plot(epochs, np.multiply(result.accuracies, 100.0), marker=".", label=result.name)
    axes[0].set(title="training", xlabel="epoch", ylabel="loss", yscale="log")
    axes[1].set(title="test", xlabel="epoch", ylabel="accuracy (%)")
    axes[1].legend(loc="lower right")
    for result, panel in zip(devices, axes[2:], strict=True):
        draw_pulse_response(result, panel, seed)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def draw_pulse_response(result: Result, axes: Axes, seed: int) -> None:
    """Draw some devices, the mean and the spread of many, under pulses up and then down from the lower bound."""
    torch.manual_seed(seed)
    n_steps = estimate_n_steps(result.config)
    direction = np.repeat([1.0, -1.0], n_steps)
    weights = compute_pulse_response(get_tile_for_plotting(result.config, N_DEVICES), direction)[:, :, 0]
    mean, std = weights.mean(axis=1), weights.std(axis=1)
    pulses = np.arange(1, len(direction) + 1)
    axes.plot(pulses, weights[:, :5], linewidth=0.7, color="0.6")
    axes.plot(pulses, mean, color="C3", label=f"mean of {N_DEVICES} devices")
    axes.fill_between(pulses, mean - std, mean + std, color="C3", alpha=0.2, label="device-to-device spread")
    axes.set(title=f"{result.name}: pulses up, then down", xlabel="pulse", ylabel="weight")
    axes.legend(loc="lower center", fontsize="small")
