"""Cases of one matrix-vector product: the formulas of weights and inputs, and the run."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from oracle_cases import Case

from rpu_sim import Tile, derive_seed

Float64 = NDArray[np.float64]
Statistics = dict[str, tuple[Any, Any]]


def weights(case: Case) -> NDArray[np.float32]:
    o, i = np.indices((case.procedure["out"], case.procedure["in"]))
    return np.asarray(0.5 * np.sin(0.3 + 0.7 * o + 1.1 * i), np.float32)


def inputs(case: Case) -> NDArray[np.float32]:
    p = case.procedure
    amplitudes = np.array(p["amplitudes"])
    s, k = np.indices((len(amplitudes), p["out" if p["backward"] else "in"]))
    return np.asarray(amplitudes[:, None] * np.sin(0.2 + 0.9 * k + 2.3 * s), np.float32)


def product(case: Case, instance: int, x: NDArray[np.float32]) -> Float64:
    """One call of a new tile."""
    w = weights(case)
    rows, columns = w.shape
    tile = Tile(rows, columns, case.config, seed=derive_seed(0, case.kind, case.id, instance))
    tile.set_weights(w)
    return np.asarray(tile.backward(x) if case.procedure["backward"] else tile.forward(x), np.float64)


def run_mvm(case: Case) -> Statistics:
    """Statistics with standard errors from the scatter between tiles, from as many samples as the reference has."""
    x = inputs(case)
    if "y" in case.stats:
        return {"y": (product(case, 0, x), 0.0)}
    tiles, repeats = case.procedure["tiles"], case.procedure["repeats_per_tile"]
    y = np.stack([product(case, i, np.tile(x, (repeats, 1))).reshape(repeats, *x.shape[:1], -1) for i in range(tiles)])
    root = np.sqrt(tiles)
    within = y.std(1, ddof=1)
    flat = y.reshape(tiles * repeats, *y.shape[2:])
    spread = ((y - flat.mean(0)) ** 2).mean(1).std(0, ddof=1) / root
    found = {
        "mean": (y.mean((0, 1)), y.mean(1).std(0, ddof=1) / root),
        "within_tile_std": (np.sqrt((within**2).mean(0)), within.std(0, ddof=1) / root),
        "std": (flat.std(0, ddof=1), spread / (2 * np.maximum(flat.std(0), 1e-12))),
    }
    if "corr_upper_triangle_sample1" in case.stats:
        upper = np.triu_indices(y.shape[-1], 1)
        corr = np.stack([np.corrcoef(tile[:, 1].T)[upper] for tile in y])
        found["corr_upper_triangle_sample1"] = (np.corrcoef(flat[:, 1].T)[upper], corr.std(0, ddof=1) / root)
    return found
