"""How the devices of the presets answer to pulses: one figure per device.

Three rows: some devices with all noise, the same without noise from pulse to pulse, and the mean step over the weight.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import torch

from aihw_torch import presets
from aihw_torch.experiments import format_table
from aihw_torch.utils.visualization import plot_device

DEVICES = (
    "ReRamESPresetDevice",
    "ReRamSBPresetDevice",
    "CapacitorPresetDevice",
    "EcRamPresetDevice",
    "EcRamMOPresetDevice",
    "PCMPresetDevice",
    "GokmenVlasovPresetDevice",
    "IdealizedPresetDevice",
)


def main(arguments: Sequence[str] | None = None) -> list[Path]:
    """Draw, print the steps and bounds, and return the paths of the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--devices", nargs="+", default=DEVICES, help="names in aihw_torch.presets")
    parser.add_argument("--loops", type=int, default=2, help="how often to go up and down")
    parser.add_argument("--output", type=Path, default=Path("results"), help="folder of the figures")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
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
