"""A device from measured pulses: a CSV of readings becomes a piecewise step device, which is plotted beside the data.

The file has a header and a line per reading: `direction` (up, down, or empty at the start) and `conductance`. Without
`--csv` such a measurement is made here, of a simulated soft-bounds device with read noise. `aihw_torch.utils` and
`rpu_sim.table` have fits with standard errors and tables of whole distributions; this is the idea in a few lines.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch

from aihw_torch.config import PiecewiseStepDevice, SingleRPUConfig, SoftBoundsDevice
from aihw_torch.experiments import command_line
from aihw_torch.utils.visualization import compute_pulse_response, compute_pulse_statistics, get_tile_for_plotting

SAME = {"dw_min_dtod": 0.0, "up_down_dtod": 0.0, "w_max_dtod": 0.0, "w_min_dtod": 0.0}


def measure(path: Path, cycles: int) -> None:
    """Write what a simulated device answers to trains of pulses, in microsiemens."""
    tile = get_tile_for_plotting(SingleRPUConfig(device=SoftBoundsDevice(dw_min=0.01, up_down=0.1, **SAME)), 1)
    signs = np.tile(np.repeat([1.0, -1.0], 300), cycles)
    conductance = 20.0 + 15.0 * compute_pulse_response(tile, signs)[:, 0, 0]
    conductance += 0.05 * torch.randn(len(signs)).numpy()
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["direction", "conductance"])
        writer.writerows(zip(np.where(signs > 0, "up", "down"), conductance, strict=True))


def fit(path: Path, nodes: int) -> tuple[PiecewiseStepDevice, np.ndarray, np.ndarray]:
    """Return the device, the measured weights and the directions; the range of readings is -1 to 1."""
    with path.open() as file:
        rows = list(csv.DictReader(file))
    direction = np.array([1.0 if row["direction"] == "up" else -1.0 for row in rows])
    reading = np.array([float(row["conductance"]) for row in rows])
    low, high = np.quantile(reading, [0.001, 0.999])
    weight = 2.0 * (reading - low) / (high - low) - 1.0
    places = np.linspace(-1.0, 1.0, nodes)
    (up, up_std), (down, _) = (compute_pulse_statistics(places, weight, direction, way, 0.2) for way in (True, False))
    step = float((up - down).mean() / 2)
    factors = {"piecewise_up": tuple((up / step).tolist()), "piecewise_down": tuple((-down / step).tolist())}
    noise = float(np.median(up_std) / step)
    device = PiecewiseStepDevice(dw_min=step, dw_min_std=noise, w_min=-1.0, w_max=1.0, **factors, **SAME)
    return device, weight, direction


def main(arguments: Sequence[str] | None = None) -> float:
    """Fit, print the device, plot, and return the mean distance between measured and simulated weights."""
    options = command_line(
        __doc__,
        arguments,
        csv=("", "a measurement; without it one is simulated"),
        cycles=(4, "of the simulated measurement"),
        nodes=9,
        output=(Path("results"), "folder of the figure and the measurement"),
    )
    options.output.mkdir(parents=True, exist_ok=True)
    if not options.csv:
        options.csv = options.output / "21_measurement.csv"
        measure(options.csv, options.cycles)

    device, weight, direction = fit(options.csv, options.nodes)
    print(device)
    tile = get_tile_for_plotting(SingleRPUConfig(device=device), 1, w_init=float(weight[0]))
    simulated = compute_pulse_response(tile, direction)[:, 0, 0]
    distance = float(np.abs(simulated - weight).mean())
    print(f"mean distance of simulated and measured weights: {distance:.3f}, of a range of 2")

    plt.switch_backend("Agg")
    figure, axes = plt.subplots(figsize=(7, 3), layout="constrained")
    axes.plot(weight, color="0.6", label="measured")
    axes.plot(simulated, color="C3", label="fitted device")
    axes.set(xlabel="pulse", ylabel="weight")
    axes.legend()
    figure.savefig(options.output / "21_fit_device_data.png")
    plt.close(figure)
    print(f"figure: {options.output / '21_fit_device_data.png'}")
    return distance


if __name__ == "__main__":
    main()
