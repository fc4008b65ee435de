"""Plots of what pulses do to devices, of programming errors and of drift, with matplotlib (the extra `plot`).

The functions that compute return NumPy arrays; those that plot draw them.
"""

from __future__ import annotations

from aihw_torch.utils.programming_plots import (
    plot_model_programming_error,
    plot_programming_error,
    plot_weight_drift,
    programming_error,
)
from aihw_torch.utils.pulse_response import (
    compute_pulse_response,
    compute_pulse_statistics,
    estimate_n_steps,
    get_tile_for_plotting,
    plot_device,
    plot_device_compact,
    plot_device_symmetry,
    plot_pulse_response,
    plot_pulse_statistics,
    plot_response_overview,
)

__all__ = [
    "compute_pulse_response",
    "compute_pulse_statistics",
    "estimate_n_steps",
    "get_tile_for_plotting",
    "plot_device",
    "plot_device_compact",
    "plot_device_symmetry",
    "plot_model_programming_error",
    "plot_programming_error",
    "plot_pulse_response",
    "plot_pulse_statistics",
    "plot_response_overview",
    "plot_weight_drift",
    "programming_error",
]
