"""Repeat the oracle cases of operations on a weight matrix; see ``oracle_runs``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from oracle_cases import Case
from oracle_runs import Measured, Measurement

from rpu_sim import clip_weights, derive_seed, modify_weights, remap_weights
from rpu_sim.config import WeightClipParameter, WeightRemapParameter, WeightRemapType

FORMULAS: dict[str, Callable[[Any, Any], Any]] = {
    "0.5*sin(0.3+0.7*o+1.1*i)": lambda o, i: 0.5 * np.sin(0.3 + 0.7 * o + 1.1 * i),
    "1.4*cos(0.5+1.9*o+0.6*i*i)*exp(-0.3*o)": lambda o, i: 1.4 * np.cos(0.5 + 1.9 * o + 0.6 * i * i) * np.exp(-0.3 * o),
}


def _weights(case: Case) -> NDArray[np.float32]:
    recipe = case.procedure["weights"]
    o, i = np.indices((recipe["out"], recipe["in"]))
    return np.asarray(FORMULAS[recipe["formula"]](o, i), np.float32)


def run_modifier(case: Case) -> Measurement:
    w, given = _weights(case), _weights(case)
    tiles, repeats = case.procedure["tiles"], case.procedure["repeats_per_tile"]
    copies = [
        modify_weights(w, case.config, seed=derive_seed(0, case.kind, case.id, i), samples=repeats).astype(np.float64)
        for i in range(tiles)
    ]

    def over_tiles(statistic: Callable[[NDArray[np.float64]], Any]) -> Measured:
        scatter = np.std([statistic(samples) for samples in copies], axis=0, ddof=1)
        return Measured(statistic(np.concatenate(copies)), scatter / np.sqrt(tiles))

    return {
        "mean": over_tiles(lambda samples: samples.mean(axis=0)),
        "std": over_tiles(lambda samples: samples.std(axis=0, ddof=1)),
        "fraction_zero": over_tiles(lambda samples: np.mean(samples == 0.0)),
        "modified": Measured(copies[0][0]),
        "clean_weights_unchanged": Measured(np.abs(w - given).max()),
    }


def run_clip_remap(case: Case) -> Measurement:
    """A mapping is a remap of the logical weights with scales of 1; training disturbs the weights before the second."""
    w = _weights(case)
    if isinstance(case.config, WeightClipParameter):
        return {"weights": Measured(clip_weights(w, case.config))}
    mapping = case.procedure["mapping"]
    types = WeightRemapType
    kind = types.CHANNELWISE_SYMMETRIC if mapping.get("weight_scaling_columnwise") else types.LAYERWISE_SYMMETRIC
    initial = WeightRemapParameter(type=kind, remapped_wmax=mapping["weight_scaling_omega"])
    analog, scales = remap_weights(w, np.ones(len(w), np.float32), initial)
    found = {"analog_after_set": Measured(analog), "scales_after_set": Measured(scales)}
    o, i = np.indices(w.shape)
    for step, factor in ((1, 1.0), (2, 1 + 0.5 * np.cos(o + 2 * i))):
        analog, scales = remap_weights((analog * factor).astype(np.float32), scales, case.config)
        found |= {f"analog_after_step{step}": Measured(analog), f"scales_after_step{step}": Measured(scales)}
    return found


WEIGHT_RUN: dict[str, Callable[[Case], Measurement]] = {"modifier": run_modifier, "clip_remap": run_clip_remap}
