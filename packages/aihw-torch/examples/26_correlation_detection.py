"""Which inputs are correlated? Learning algorithms sum up tiny, noisy gradients, and the trace shows how.

Half of the inputs share a common fluctuation with the error signal, the others do not. Each update is small and mostly
noise; an algorithm has found the correlated inputs when their weights stand out and the others stay at zero. Devices
have a reference that misses their symmetry point by `--offset`: plain pulses also move the weights of the other inputs
there, AGAD does not.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch

from aihw_torch.config import IOParameters, SoftBoundsReferenceDevice, build_config
from aihw_torch.experiments import command_line, format_table
from aihw_torch.tiles import AnalogTile

N = 20  # inputs, the first half correlated


def trace(config: Any, options: argparse.Namespace) -> np.ndarray:
    """Weights during the updates, [100, N]."""
    rng = torch.Generator().manual_seed(options.seed)
    tile = AnalogTile(1, N, config, seed=options.seed)
    tile.set_weights(torch.zeros(1, N))
    every = max(1, options.updates // 100)
    weights = []
    for update in range(options.updates):
        common = torch.randn(1, 1, generator=rng)
        x = torch.randn(1, N, generator=rng)
        x[:, : N // 2] = options.correlation * common + (1 - options.correlation**2) ** 0.5 * x[:, : N // 2]
        tile.update(x, -common, options.lr)
        if update % every == 0:
            weights.append(tile.get_weights()[0][0].numpy().copy())
    return np.stack(weights)


def main(arguments: Sequence[str] | None = None) -> dict[str, float]:
    """Run all algorithms, print how far the groups are apart, draw the traces, and return the distances."""
    options = command_line(
        __doc__,
        arguments,
        updates=5000,
        correlation=0.3,
        offset=(0.2, "spread of the references around the symmetry points"),
        lr=0.01,
        output=(Path("results"), "folder of the figure"),
    )

    device = SoftBoundsReferenceDevice(
        dw_min=0.01, w_max=1.0, w_min=-1.0, subtract_symmetry_point=True, reference_std=options.offset
    )
    perfect = IOParameters(is_perfect=True)
    traces = {name: trace(build_config(name, device, perfect), options) for name in ("sgd", "ttv2", "c-ttv2", "agad")}
    rows = []
    for name, weights in traces.items():
        last = weights[-len(weights) // 5 :].mean(0)
        groups = last[: N // 2], last[N // 2 :]
        distance = float((groups[0].mean() - groups[1].mean()) / np.sqrt((groups[0].var() + groups[1].var()) / 2))
        means = {"correlated": float(groups[0].mean()), "others": float(groups[1].mean())}
        rows.append({"algorithm": name, **means, "distance / spread": distance})
    print(format_table(rows))

    plt.switch_backend("Agg")
    figure, axes = plt.subplots(1, len(traces), figsize=(12, 3), sharey=True, layout="constrained")
    for panel, (name, weights) in zip(axes, traces.items(), strict=True):
        panel.plot(weights[:, N // 2 :], color="0.7", linewidth=0.7)
        panel.plot(weights[:, : N // 2], color="C0", linewidth=0.7)
        panel.set(title=name, xlabel="updates / 100")
    axes[0].set_ylabel("weight (blue: correlated)")
    options.output.mkdir(parents=True, exist_ok=True)
    figure.savefig(options.output / "26_correlation_detection.png")
    plt.close(figure)
    print(f"figure: {options.output / '26_correlation_detection.png'}")
    return {row["algorithm"]: row["distance / spread"] for row in rows}


if __name__ == "__main__":
    main()
