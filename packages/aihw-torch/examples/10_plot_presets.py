"""How the devices of the presets answer to pulses: one figure per device.

Three rows: some devices with all noise, the same without noise from pulse to pulse, and the mean step over the weight.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import torch

from aihw_torch import presets
from aihw_torch.experiments import command_line, format_table
from aihw_torch.utils.visualization import plot_device

DEVICES = [
    "ReRamESPresetDevice",
    "ReRamSBPresetDevice",
    "CapacitorPresetDevice",
    "EcRamPresetDevice",
    "EcRamMOPresetDevice",
    "PCMPresetDevice",
    "GokmenVlasovPresetDevice",
    "IdealizedPresetDevice",
]


def main(arguments: Sequence[str] | None = None) -> list[Path]:
    """Draw, print the steps and bounds, and return the paths of the figures."""
    options = command_line(
        __doc__,
        arguments,
        devices=(DEVICES, "names in aihw_torch.presets"),
        loops=(2, "how often to go up and down"),
        output=(Path("results"), "folder of the figures"),
    )
    plt.switch_backend("Agg")
    options.output.mkdir(parents=True, exist_ok=True)

    rows, paths = [], []
    for name in options.devices:
        torch.manual_seed(options.seed)
        device = getattr(presets, name)()
        figure = plot_device(device, n_loops=options.loops, w_noise=0.0)
        paths.append(options.output / f"10_{name}.png")
        figure.savefig(paths[-1])
        plt.close(figure)
        rows.append({"device": name, "dw_min": getattr(device, "dw_min", ""), "figure": str(paths[-1])})
    print(format_table(rows))
    return paths


if __name__ == "__main__":
    main()
