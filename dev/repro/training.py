"""Learning algorithms program a 20 x 20 layer: the study of figure 4 of Rasch, Carta, Fagbohungbe and Gokmen.

`nox -s repro -- training` prints the table and writes it with a figure.

A layer W on simulated devices learns the layer W* from inputs x ~ N(0, 1) by stochastic gradient descent on
|W x - W* x|^2 / (2 n). Fast devices have about 20 states, and each has a reference that misses its symmetry point by
N(0, offset); what is compared is how the algorithms bear that. The error is the root mean square of W - W* over all
cells and the last quarter of the run. Paper: doi:10.1038/s41467-024-51221-z.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import rpu_sim
from rpu_sim import config as c

N = 20
STATES = 20
GAMMA_0 = 200.0  # gradient per step of the buffer; n_s = 5, l_max = 5, rho = 0.1, beta = 0.5 are the paper's as well
OFFSETS = (0.0, 0.1, 0.5)
ALGORITHMS = ("SGD", "TTv2", "c-TTv2", "AGAD")

#: (algorithm, offset): what the text of the paper says, and what an independent model of its equations in plain NumPy
#: gave (mean and standard deviation over five seeds), in percent.
PUBLISHED: dict[tuple[str, float], tuple[str, str]] = {
    ("SGD", 0.0): ("> 25", "17.5 ± 0.3"),
    ("TTv2", 0.0): ("≈ 5", "6.2 ± 0.1"),
    ("TTv2", 0.1): ("≈ 9", "8.1 ± 1.8"),
    ("TTv2", 0.5): ("fails", "54.5 ± 1.7"),
    ("c-TTv2", 0.0): ("flat", "6.1"),
    ("c-TTv2", 0.1): ("flat", "6.7"),
    ("c-TTv2", 0.5): ("flat", "33.3"),
    ("AGAD", 0.0): ("flat", "12.0 ± 0.6"),
    ("AGAD", 0.1): ("flat", "12.0 ± 0.6"),
    ("AGAD", 0.5): ("flat", "12.0 ± 0.6"),
}


class Row(NamedTuple):
    """Errors of one algorithm at one offset, over the seeds, in percent."""

    algorithm: str
    offset: float
    mean: float
    std: float
    lowest: float
    highest: float


def device(**changes: Any) -> c.SoftBoundsReferenceDevice:
    """Soft bounds with additive cycle noise and all spreads of 0.3."""
    fields: dict[str, Any] = {
        "dw_min": 2.0 / STATES,
        "dw_min_dtod": 0.3,
        "dw_min_dtod_log_normal": True,
        "dw_min_std": 0.3,
        "up_down_dtod": 0.1,
        "w_max": 1.0,
        "w_min": -1.0,
        "w_max_dtod": 0.3,
        "w_min_dtod": 0.3,
    }
    return c.SoftBoundsReferenceDevice(**fields | changes)


def configuration(algorithm: str, offset: float) -> Any:
    """The configuration of an algorithm; inputs and outputs are ideal, as in the paper's study."""
    perfect = c.IOParameters(is_perfect=True)
    common: dict[str, Any] = {"forward": perfect, "backward": perfect, "update": c.UpdateParameters(desired_bl=5)}
    slow = device(w_max_dtod=0.0, w_min_dtod=0.0)
    if algorithm == "SGD":
        return c.SingleRPUConfig(device=slow, **common)
    fast = device(subtract_symmetry_point=True, reference_std=offset)
    transfer: dict[str, Any] = {
        "unit_cell_devices": [fast, slow],
        "transfer_every": 5,
        "transfer_forward": perfect,
        "auto_scale": True,
        "auto_granularity": GAMMA_0,
        "correct_gradient_magnitudes": True,
        "forget_buffer": False,
    }
    if algorithm == "AGAD":
        cell: c.UnitCell = c.DynamicTransferCompound(in_chop_prob=0.1, tail_weightening=5.0, **transfer)
    else:
        cell = c.ChoppedTransferCompound(in_chop_prob=0.1 if algorithm == "c-TTv2" else 0.0, **transfer)
    return c.UnitCellRPUConfig(device=cell, **common)


def weight_error(config: Any, seed: int, samples: int, learning_rate: float) -> float:
    """Train one layer; return the error over the last quarter, every 100th sample, in percent."""
    rng = np.random.default_rng(seed)
    wanted = (0.3 * rng.standard_normal((N, N))).astype(np.float32)
    tile = rpu_sim.Tile(N, N, config, seed=seed)
    tile.set_weights(np.zeros((N, N), np.float32))
    squares = []
    for sample in range(samples):
        x = rng.standard_normal((1, N)).astype(np.float32)
        d = (tile.forward(x) - x @ wanted.T) / np.float32(N)
        tile.update(x, d, learning_rate)
        if sample >= samples * 3 // 4 and sample % 100 == 0:
            squares.append(np.mean((tile.get_weights().astype(np.float64) - wanted) ** 2))
    return 100.0 * float(np.sqrt(np.mean(squares)))


def run(seeds: int, samples: int, learning_rate: float, report: Callable[[str], None]) -> list[Row]:
    """All algorithms and offsets; SGD has no reference, so one offset."""
    rows = []
    for algorithm in ALGORITHMS:
        for offset in OFFSETS[:1] if algorithm == "SGD" else OFFSETS:
            start = time.perf_counter()
            config = configuration(algorithm, offset)
            errors = [weight_error(config, seed, samples, learning_rate) for seed in range(seeds)]
            row = Row(algorithm, offset, *(float(f(errors)) for f in (np.mean, spread, np.min, np.max)))
            rows.append(row)
            report(table_line(row) + f"   [{time.perf_counter() - start:.0f} s]")
    return rows


def spread(errors: list[float]) -> float:
    """Standard deviation over the seeds."""
    return float(np.std(errors, ddof=1)) if len(errors) > 1 else 0.0


HEAD = f"{'algorithm':10} {'offset':>6} {'error (%)':>14} {'lowest..highest':>16} {'paper':>8} {'independent':>12}"


def table_line(row: Row) -> str:
    """One line of the table."""
    paper, independent = PUBLISHED[(row.algorithm, row.offset)]
    error, span = f"{row.mean:.1f} ± {row.std:.1f}", f"{row.lowest:.1f}..{row.highest:.1f}"
    return f"{row.algorithm:10} {row.offset:6.1f} {error:>14} {span:>16} {paper:>8} {independent:>12}"


def draw(rows: list[Row], path: Path) -> None:
    """Error over offset, with the spread of the seeds."""
    import matplotlib.pyplot as plt

    plt.switch_backend("Agg")
    figure, axes = plt.subplots(figsize=(5, 3.6), layout="constrained")
    for algorithm in ALGORITHMS:
        own = [row for row in rows if row.algorithm == algorithm]
        if len(own) == 1:
            axes.axhline(own[0].mean, linestyle="--", color="0.4", label=algorithm)
            continue
        offsets, means, spreads = zip(*((row.offset, row.mean, row.std) for row in own), strict=True)
        axes.errorbar(offsets, means, yerr=spreads, marker="o", capsize=3, label=algorithm)
    axes.set(xlabel="offset of the reference", ylabel="weight error (%)", ylim=(0, None))
    axes.legend()
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main() -> None:
    """Print the table and write it with a figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10, help="number of chips and targets (default: 10)")
    parser.add_argument("--samples", type=int, default=20_000, help="samples of a run (default: 20000)")
    parser.add_argument("--lr", type=float, default=0.1, help="learning rate of all algorithms (default: 0.1)")
    parser.add_argument(
        "--output", type=Path, default=Path("results"), metavar="DIR", help="folder of table and figure"
    )
    options = parser.parse_args()
    rpu_sim.set_num_threads(1)  # a matrix of this size gains nothing from more
    print(f"{N} x {N}, {STATES} states, {options.samples} samples, {options.seeds} seeds, learning rate {options.lr}")
    print(HEAD)
    rows = run(options.seeds, options.samples, options.lr, lambda line: print(line, flush=True))
    options.output.mkdir(parents=True, exist_ok=True)
    with (options.output / "weight_programming.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(Row._fields)
        writer.writerows(rows)
    draw(rows, options.output / "weight_programming.png")
    print(f"\nTable and figure: {options.output}/weight_programming.csv, .png")


if __name__ == "__main__":
    main()
