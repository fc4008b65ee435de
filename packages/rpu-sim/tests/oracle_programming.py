"""Weight programming: complete published configurations learn a random 20 x 20 matrix."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rpu_sim import Tile, derive_seed

SEEDS = 10
#: Cases of half a minute and more, which `nox -s oracle` runs and the tests do not.
LONG = frozenset(
    {
        "TikiTakaReRamSBPreset",
        "TikiTakaEcRamPreset",
        "TTv2ReRamSBPreset",
        "TTv2EcRamMOPreset",
        "ChoppedTTv2ReRamSBPreset",
        "AGADReRamSBPreset",
        "AGADEcRamPreset",
    }
)


def learn(config: Any, procedure: dict[str, Any], seed: int) -> NDArray[np.float64]:
    """Error, mean error and slope of the weights at each checkpoint, [checkpoint, 3]."""
    rng = np.random.default_rng(seed)
    n = procedure["size"]
    wanted = (0.3 * rng.standard_normal((n, n))).astype(np.float32)
    tile = Tile(n, n, config, seed=seed)
    tile.set_weights(np.zeros((n, n), np.float32))
    seen = []
    for call in range(1, procedure["update_calls"] + 1):
        x = rng.standard_normal((procedure["batch"], n)).astype(np.float32)
        d = (tile.forward(x) - x @ wanted.T) / np.float32(procedure["batch"])
        tile.update(x, d, procedure["learning_rate"])
        tile.post_update_step()
        if call in procedure["checkpoints"]:
            weights, target = tile.get_weights().astype(np.float64), wanted.astype(np.float64)
            error = weights - target
            slope = np.sum(weights * target) / np.sum(target**2)
            seen.append((np.sqrt(np.mean(error**2)), np.mean(error), slope))
    return np.array(seen)


def run(case_id: str, config: Any, procedure: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Statistics over seeds with their standard errors."""
    seeds = (derive_seed(0, "weight_programming", case_id, i) for i in range(SEEDS))
    runs = np.stack([learn(config, procedure, seed) for seed in seeds])
    mean, spread = runs.mean(axis=0), runs.std(axis=0, ddof=1)
    error = spread / np.sqrt(SEEDS)
    names = ("rms_weight_error", "mean_weight_error", "slope")
    found: dict[str, tuple[Any, Any]] = {name: (mean[:, i], error[:, i]) for i, name in enumerate(names)}
    found["rms_weight_error_std_over_seeds"] = (spread[:, 0], spread[:, 0] / np.sqrt(2 * (SEEDS - 1)))
    return found
