"""Cases of unit cells and compounds: how they are run, and how a case is changed where we differ from the reference.

Where the reference does something that we do otherwise on purpose (the tags in ``quirks``), the difference is put into
the case: `TRANSLATED` changes its configuration or its order of calls so that both must give the same numbers. This
compares everything else of the case as well, and says exactly what the difference is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rpu_sim import Tile, derive_seed

Arrays = dict[str, NDArray[Any]]
#: Traces are recorded after these update calls, and after the last.
CHECKPOINTS = (1, 2, 3, 5, 9, 17, 33, 65)


def _device(**changes: Any) -> Callable[[Any, dict[str, Any]], None]:
    def change(config: Any, procedure: dict[str, Any]) -> None:
        for name, value in changes.items():
            setattr(config.device, name, value)

    return change


def _faster(factor: float) -> Callable[[Any, dict[str, Any]], None]:
    def change(config: Any, procedure: dict[str, Any]) -> None:
        config.device.fast_lr *= factor

    return change


def _reference_granularity(config: Any, procedure: dict[str, Any]) -> None:
    procedure["learning_rate"] *= 2.0 / 1.5


def _one_by_one(config: Any, procedure: dict[str, Any]) -> None:
    config.device.first_update_idx = 1
    procedure["one_by_one"] = True


#: Case: (how it is changed, why).
TRANSLATED: dict[str, tuple[Callable[[Any, dict[str, Any]], None], str]] = {
    "vector_sequential": (_device(first_update_idx=1), "V2: the reference begins with the device behind the first"),
    "vector_sequential_batch": (_one_by_one, "V2, V3: the reference begins one behind and switches with every sample"),
    "reference_cell": (
        _reference_granularity,
        "RU2: the reference takes the mean granularity, we that of the pulsed device; run with a learning rate x 4/3",
    ),
    "transfer_three": (
        _device(transfer_every_vec=[2.0, 4.0, 0.0]),
        "T2: the second period of the reference is out_size, ours in_size times the first; run with explicit periods",
    ),
    "transfer_different_granularity": (
        _faster(0.5),
        "T1: the reference takes the mean granularity, we that of the pulsed device; run with fast_lr x 1/2",
    ),
    "buffered_thres_bl": (_faster(2.0 / 1.5), "T1: as above; run with fast_lr x 4/3"),
    "dynamic_tail": (_faster(2.0 / 1.5), "T1: as above; run with fast_lr x 4/3"),
    "chopped_auto_period": (_faster(0.05 / 0.0255), "T1: as above; run with fast_lr x 0.05/0.0255"),
    "chopped_bl5": (
        _device(step=1.0000001),
        "BT1: the reference cuts three pulses to two; run with a step that is not 1, which uses its stochastic write",
    ),
}

_M1 = "M1: the reference transfers one sample late; run from its state after the first call"
#: Mixed precision: the reference transfers while it processes the sample after ``transfer_every`` calls.
SHIFTED = {
    "mixedprecision_default": _M1,
    "mixedprecision_rows": _M1,
    "mixedprecision_quantised": _M1,
    "mixedprecision_batch": "M1: the reference transfers one sample late; run with calls that end at that sample",
}


def checkpoints(case_id: str, total: int) -> list[int]:
    """Numbers of the update calls whose state is compared."""
    numbers = sorted({n for n in (*CHECKPOINTS, total) if n <= total})
    if case_id == "mixedprecision_batch":
        return [n for n in numbers if n % 2 == 1 and n > 1]
    return [n for n in numbers if n > 1] if case_id in SHIFTED else numbers


def _signals(procedure: dict[str, Any], k: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """x [batch, in] and d [batch, out] of update call ``k``."""
    i, j, b = np.arange(procedure["out_size"]), np.arange(procedure["in_size"]), np.arange(procedure["batch"])[:, None]
    x, d = GRADIENTS[procedure["gradient"]](k, b, i, j)
    shape = (procedure["batch"], len(j)), (procedure["batch"], len(i))
    return np.broadcast_to(x, shape[0]).astype(np.float32), np.broadcast_to(d, shape[1]).astype(np.float32)


GRADIENTS: dict[str, Callable[[int, Any, Any, Any], tuple[Any, Any]]] = {
    "x[k,b,j] = sin(0.5+1.3*k+0.7*j+0.37*b) ; d[k,b,i] = 0.06*cos(0.3+0.53*k+1.9*i+0.91*b)-0.013": (
        lambda k, b, i, j: (
            np.sin(0.5 + 1.3 * k + 0.7 * j + 0.37 * b),
            0.06 * np.cos(0.3 + 0.53 * k + 1.9 * i + 0.91 * b) - 0.013,
        )
    ),
    "x[k,b,j] = 0.5+0.13*j ; d[k,b,i] = (-1)^k*(0.037+0.011*i)-0.0083": (
        lambda k, b, i, j: (0.5 + 0.13 * j, (-1) ** k * (0.037 + 0.011 * i) - 0.0083)
    ),
    "x[k,b,j] = 0.5+0.13*j ; d[k,b,i] = -(0.031+0.012*i)": lambda k, b, i, j: (0.5 + 0.13 * j, -(0.031 + 0.012 * i)),
    "x[k,b,j] = cos(0.11*k+0.5*j+0.2*b) ; d[k,b,i] = 0.05*sin(0.07*k+0.4*i)*cos(0.11*k+0.2*b)-0.004": (
        lambda k, b, i, j: (
            np.cos(0.11 * k + 0.5 * j + 0.2 * b),
            0.05 * np.sin(0.07 * k + 0.4 * i) * np.cos(0.11 * k + 0.2 * b) - 0.004,
        )
    ),
}


def _start(config: Any, procedure: dict[str, Any], state: Arrays, seed: int) -> Tile:
    """A tile in a given state."""
    tile = Tile(procedure["out_size"], procedure["in_size"], config, seed=seed)
    tile.set_weights(state["W"])
    tile.set_hidden_parameters({name: values for name, values in state.items() if name != "W"})
    return tile


def _calls(case_id: str, procedure: dict[str, Any]) -> Iterator[tuple[int, Any, Any]]:
    """(number of the call of the reference that is complete then, x, d) of our calls; 0 where none is."""
    numbers = range(procedure["steps_total"])
    if case_id == "mixedprecision_batch":
        x, d = (np.concatenate(parts) for parts in zip(*(_signals(procedure, k) for k in numbers), strict=True))
        batch = procedure["batch"]
        ends = [batch * (k + 1) + (k % 2) for k in numbers]
        for k, (start, stop) in enumerate(zip([0, *ends[:-1]], ends, strict=True)):
            yield (k + 1 if k % 2 == 0 else 0), x[start:stop], d[start:stop]
        return
    for k in numbers:
        x, d = _signals(procedure, k)
        if case_id in SHIFTED and k == 0:
            continue
        if procedure.get("one_by_one"):
            for b in range(len(x) - 1):
                yield 0, x[b : b + 1], d[b : b + 1]
            x, d = x[-1:], d[-1:]
        yield k + 1, x, d


def run(case_id: str, config: Any, procedure: dict[str, Any], names: set[str], seed: int) -> Arrays:
    """The named arrays after the recorded update calls, [call, out, in] each."""
    config, procedure = config.mutable_copy(), dict(procedure)
    if case_id in TRANSLATED:
        TRANSLATED[case_id][0](config, procedure)
    state = {name: np.array(values, np.float32) for name, values in procedure["start"].items()}
    tile = _start(config, procedure, state, seed)
    seen: dict[str, list[Any]] = {name: [] for name in names}
    for number, x, d in _calls(case_id, procedure):
        tile.update(x, d, procedure["learning_rate"])
        if number in procedure["index"]:
            hidden = tile.hidden_parameters() if names - {"W"} else {}
            for name in names:
                seen[name].append(tile.get_weights() if name == "W" else hidden[name])
    return {name: np.stack(arrays) for name, arrays in seen.items()}


def over_instances(case_id: str, config: Any, procedure: dict[str, Any], names: set[str]) -> Arrays:
    """Arrays of a quarter of the instances of the reference, [instance, call, out, in] each, by name."""
    found: dict[str, list[Any]] = {name: [] for name in names}
    for i in range(procedure["instances"] // 4):
        arrays = run(case_id, config, procedure, names, derive_seed(0, "compound_stat", case_id, i))
        for name, values in arrays.items():
            found[name].append(values.astype(np.float64))
    return {name: np.stack(values) for name, values in found.items()}
