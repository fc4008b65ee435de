"""Repeat the experiment of an oracle case with `rpu_sim.Tile` and estimate the same statistics.

Samples are taken in many tiles. A standard error comes from the scatter between tiles, as in the reference data.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import oracle_compounds
import oracle_programming
from numpy.typing import NDArray
from oracle_cases import Case
from oracle_mvm import run_mvm

from rpu_sim import Tile, derive_seed
from rpu_sim.config import SoftBoundsDevice
from rpu_sim.reference.devices import soft_bounds_slopes

Float64 = NDArray[np.float64]


class Measured(NamedTuple):
    value: Any
    stderr: Any = 0.0


Measurement = dict[str, Measured]


def _tile(case: Case, instance: int) -> Tile:
    p = case.procedure
    return Tile(p["out_size"], p["in_size"], case.config, seed=derive_seed(0, case.kind, case.id, instance))


def _over_instances(instances: Sequence[Any], statistic: Callable[[Any], Any]) -> Measured:
    """The statistic of all samples together; the first axis of an instance counts its samples."""
    scatter = np.std([statistic(samples) for samples in instances], axis=0, ddof=1)
    return Measured(statistic(np.concatenate(instances)), scatter / np.sqrt(len(instances)))


def _mean(samples: Float64) -> Any:
    return np.mean(samples, axis=0)


def _std(samples: Float64) -> Any:
    return np.std(samples, axis=0, ddof=1)


def _percentiles(levels: list[float]) -> Callable[[Float64], Any]:
    """[..., level] for samples [sample, ...]."""
    return lambda samples: np.moveaxis(np.percentile(samples, levels, axis=0), 0, -1)


def _update_with(tile: Tile, direction: int, lr: float) -> None:
    """One pulse of every cell, up for a positive direction."""
    x = np.ones((1, tile.in_size), np.float32)
    tile.update(x, np.full((1, tile.out_size), -np.sign(direction), np.float32), lr)


# -- the kinds --------------------------------------------------------------------------------------------------------


def run_device_trace(case: Case) -> Measurement:
    p = case.procedure
    tile = _tile(case, 0)
    given = {name: np.array(values, np.float32) for name, values in p["hidden_parameters"].items()}
    own = tile.hidden_parameters()
    tile.set_hidden_parameters({name: values for name, values in given.items() if name in own})
    tile.set_weights(np.array(p["w_start"], np.float32))
    trace = []
    for block in p["pulse_blocks"]:
        for _ in range(abs(block)):
            _update_with(tile, block, p["learning_rate"])
            trace.append(tile.get_weights())
    recorded = p.get("index", range(1, len(trace) + 1))
    found = {"weights": Measured(np.array([trace[k - 1] for k in recorded]))}
    if isinstance(case.device, SoftBoundsDevice):  # stores no slopes: they follow from the bounds
        slopes = soft_bounds_slopes(case.device, given)
        found |= {name: Measured(slopes[name]) for name in ("slope_up", "slope_down")}
    return found


def run_population(case: Case) -> Measurement:
    tiles = []
    for i in range(case.procedure["tiles"]):
        cells = _tile(case, i).hidden_parameters()
        if isinstance(case.device, SoftBoundsDevice):
            cells = soft_bounds_slopes(case.device, cells)
        tiles.append({name: values.astype(np.float64) for name, values in cells.items()})
    used = slice(None, -1 if case.device.perfect_bias else None)
    columns = {name: [tile[name][:, used].ravel() for tile in tiles] for name in tiles[0]}
    found: Measurement = {}
    quantiles = _percentiles(case.procedure["quantile_levels"])
    for name, samples in columns.items():
        found[f"{name}.mean"] = _over_instances(samples, _mean)
        found[f"{name}.std"] = _over_instances(samples, _std)
        found[f"{name}.quantiles"] = _over_instances(samples, quantiles)
        found[f"{name}.constant"] = Measured(np.concatenate(samples))
        found[f"last_column_{name}"] = Measured(np.concatenate([tile[name][:, -1] for tile in tiles]))
    steps = [np.stack([tile["dwmin_up"], tile["dwmin_down"]], axis=-1)[:, used].reshape(-1, 2) for tile in tiles]
    found["corr_dwmin_up_down"] = _over_instances(steps, _correlation)
    stuck = [(tile["max_bound"] == tile["min_bound"])[:, used].ravel() for tile in tiles]
    found["fraction_stuck"] = _over_instances(stuck, _mean)
    return found


def _correlation(pairs: Float64) -> float:
    with np.errstate(invalid="ignore"):  # constant samples have no correlation
        return float(np.corrcoef(pairs[:, 0], pairs[:, 1])[0, 1])


def run_pulse_response(case: Case) -> Measurement:
    """Two fifths of the tiles of the reference (16 of 40)."""
    p = case.procedure
    ups, downs = p["checkpoints_up"], p["checkpoints_down"]
    instances, persistent = [], []
    for i in range(p["tiles"] * 2 // 5):
        tile = _tile(case, i)
        _set_all(tile, p["w0"])
        seen: list[Float64] = []
        stored_then: list[Float64] = []
        for direction, checkpoints in ((+1, ups), (-1, downs)):
            for n in range(1, checkpoints[-1] + 1):
                _update_with(tile, direction, p["learning_rate"])
                if n in checkpoints:
                    seen.append(tile.get_weights().ravel().astype(np.float64))
                    stored = tile.hidden_parameters().get("persistent_weights", seen[-1])
                    stored_then.append(np.asarray(stored, np.float64).ravel())
        persistent.append(np.stack(stored_then, axis=-1))
        instances.append(np.stack(seen, axis=-1))
    found = {
        "mean": _over_instances(instances, _mean),
        "std": _over_instances(instances, _std),
        "percentiles": _over_instances(instances, _percentiles(p["percentile_levels"])),
    }
    for name, at in (("up", len(ups) - 1), ("down", len(ups) + len(downs) - 1)):
        stored = [samples[:, at] for samples in persistent]
        found[f"persistent_mean_after_{name}"] = _over_instances(stored, _mean)
        found[f"persistent_std_after_{name}"] = _over_instances(stored, _std)
    return found


FORMULAS: dict[str, Callable[[Any, Any, float], Any]] = {
    "amp*sin(0.7+1.3*i+0.9*b)": lambda i, b, amp: amp * np.sin(0.7 + 1.3 * i + 0.9 * b),
    "amp*cos(0.4+0.8*i+1.7*b)": lambda i, b, amp: amp * np.cos(0.4 + 0.8 * i + 1.7 * b),
    "amp*cos(0.3*i) if (i+b)%3==0 else 0": lambda i, b, amp: np.where((i + b) % 3 == 0, amp * np.cos(0.3 * i), 0.0),
}


def _vectors(recipe: dict[str, Any], batch: int, n: int) -> NDArray[np.float32]:
    i, b = np.arange(n), np.arange(batch)[:, None]
    values = FORMULAS[recipe["formula"]](i, b, recipe["amp"])
    return np.ascontiguousarray(np.broadcast_to(values, (batch, n)), np.float32)


def run_update(case: Case) -> Measurement:
    """The tiles of the reference, a quarter of its repeats in each."""
    p = case.procedure
    x, d = _vectors(p["x"], p["batch"], p["in_size"]), _vectors(p["d"], p["batch"], p["out_size"])
    instances = []
    for i in range(p["tiles"]):
        tile = _tile(case, i)
        changes = np.empty((max(2, p["repeats_per_tile"] // 4), *tile.weights.shape))
        for change in changes:
            tile.set_weights(np.zeros(tile.weights.shape, np.float32))
            tile.update(x, d, p["learning_rate"])
            change[...] = tile.weights
        instances.append(changes)
    if "dW" in case.stats:
        return {"dW": Measured(np.concatenate(instances))}
    totals = [changes.sum(axis=(1, 2)) for changes in instances]
    largest = [np.abs(changes).max(axis=(1, 2)) for changes in instances]
    corner = [changes[:, :2, :2] for changes in instances]
    return {
        "mean": _over_instances(instances, _mean),
        "std": _over_instances(instances, _std),
        "total_mean": _over_instances(totals, _mean),
        "total_std": _over_instances(totals, _std),
        "max_abs_mean": _over_instances(largest, _mean),
        "max_abs_std": _over_instances(largest, _std),
        "row_corr": _over_instances(corner, lambda s: _correlation(s[:, 0, :])),
        "col_corr": _over_instances(corner, lambda s: _correlation(s[:, :, 0])),
        "pulse_count_pmf_00": _over_instances(corner, _count_frequencies(case)),
    }


def _count_frequencies(case: Case) -> Callable[[Float64], Any]:
    values = np.array(case.procedure.get("pulse_count_values", []))
    return lambda s: np.mean(np.rint(s[:, :1, 0] / case.device.dw_min) == values, axis=0)


def _set_all(tile: Tile, value: float) -> None:
    tile.set_weights(np.full((tile.out_size, tile.in_size), value, np.float32))


def run_base_process(case: Case) -> Measurement:
    """Four times the tiles of the reference: its 0.1 % percentiles are 1.6 cells per tile, the noise is left to it."""
    p = case.procedure
    instances = []
    for i in range(4 * p["tiles"]):
        tile = _tile(case, i)
        _set_all(tile, p["w0"])
        seen = []
        for name, arguments in p["ops"]:
            operations: dict[str, Callable[..., None]] = {
                "decay": tile.decay,
                "diffuse": tile.diffuse,
                "reset": tile.reset,
                "drift": tile.drift,
                "set": functools.partial(_set_all, tile),
            }
            keywords = {key: value for key, value in arguments.items() if key != "times"}
            for _ in range(arguments.get("times", 1)):
                operations[name](**keywords)
            seen.append(tile.get_weights().ravel().astype(np.float64))
        instances.append(np.stack(seen, axis=-1))
    return {
        "mean": _over_instances(instances, _mean),
        "std": _over_instances(instances, _std),
        "percentiles": _over_instances(instances, _percentiles(p["percentile_levels"])),
    }


def run_compound_trace(case: Case) -> Measurement:
    arrays = oracle_compounds.run(case.id, case.config, case.procedure, set(case.stats), seed=1)
    return {name: Measured(values) for name, values in arrays.items()}


def run_compound_stat(case: Case) -> Measurement:
    """A quarter of the instances of the reference."""
    names = {name.removesuffix("_mean") for name in case.stats if name.endswith("_mean")}
    found = oracle_compounds.over_instances(case.id, case.config, case.procedure, names)
    measured: Measurement = {}
    for name, samples in found.items():
        parts = list(samples.reshape(15, -1, *samples.shape[1:]))
        measured[f"{name}_mean"] = _over_instances(parts, _mean)
        measured[f"{name}_std"] = _over_instances(parts, _std)
    return measured


def run_weight_programming(case: Case) -> Measurement:
    found = oracle_programming.run(case.id, case.config, case.procedure)
    return {name: Measured(*values) for name, values in found.items()}


RUN: dict[str, Callable[[Case], Measurement]] = {
    "device_trace": run_device_trace,
    "population": run_population,
    "pulse_response": run_pulse_response,
    "update": run_update,
    "base_process": run_base_process,
    "compound_trace": run_compound_trace,
    "compound_stat": run_compound_stat,
    "weight_programming": run_weight_programming,
    "mvm": lambda case: {name: Measured(*found) for name, found in run_mvm(case).items()},
}
