"""Copy the applicable cases of the reference statistics into the tests of rpu-sim, in compact form.

    python dev/oracle_import.py DIRECTORY

``DIRECTORY`` holds one ``<kind>.json`` per kind of case, in the format ``aimc-oracle-1``. What is left out, and why,
stands in ``packages/rpu-sim/tests/oracle_cases.py``; run this again after a change there.
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

TESTS = Path(__file__).resolve().parents[1] / "packages" / "rpu-sim" / "tests"
sys.path.insert(0, str(TESTS))

from oracle_cases import BY_DESIGN, DATA, KINDS, NOT_APPLICABLE, PARTIAL, Partial  # noqa: E402
from oracle_compounds import SHIFTED, checkpoints  # noqa: E402

TRACE_DIGITS = 7  # the tolerance of a trace is 5e-6
PULSE_PARAMETERS = (
    *("max_bound", "min_bound", "dwmin_up", "dwmin_down"),
    *("slope_up", "slope_down", "gamma_up", "gamma_down", "reference"),
)
PROSE = ("steps", "seeds", "index_meaning", "note", "row_order")

Json = dict[str, Any]


def flat_statistics(stats: Json, prefix: str = "") -> Json:
    """Statistics by dotted name; bare numbers (extremes, for information) are dropped."""
    flat: Json = {}
    for name, entry in stats.items():
        if isinstance(entry, dict):
            flat |= {prefix + name: entry} if "value" in entry else flat_statistics(entry, f"{prefix}{name}.")
    return flat


def rounded(values: Any, digits: int) -> Any:
    """Nested lists of numbers with fewer digits."""
    return [rounded(v, digits) for v in values] if isinstance(values, list) else float(f"{values:.{digits}g}")


def compact_config(config: Json, without: tuple[str, ...]) -> Json:
    """Configuration without the informative preset names and without the fields a partial case leaves out."""
    dropped = ("preset", *without)

    def compacted(value: Any) -> Any:
        if isinstance(value, list):
            return [compacted(v) for v in value]
        return compact_config(value, without) if isinstance(value, dict) else value

    return {k: compacted(v) for k, v in config.items() if k not in dropped}


def weight_operation(case: Json, procedure: Json) -> Json:
    """The configuration of the modifier, clip or remap of a tile; its mapping goes into the procedure."""
    tile = case["rpu_config"]
    procedure["mapping"] = tile.get("mapping", {})
    operation: Json = next(
        (tile[k] for k in ("modifier", "clip", "remap") if k in tile), {"class": "WeightRemapParameter"}
    )
    design = BY_DESIGN.get(case["kind"], {}).get(case["id"])
    return operation | (design.fields if design else {})


def mvm_procedure(procedure: Json) -> Json:
    """Sizes and amplitudes; the formulas are in ``oracle_mvm.py``."""
    sizes = {name: procedure["weights"][name] for name in ("out", "in")}
    counts = {name: procedure[name] for name in ("tiles", "repeats_per_tile") if name in procedure}
    backward = procedure["direction"].startswith("backward")
    return sizes | {"amplitudes": procedure["x"]["amp"], "backward": backward} | counts


def compact(case: Json) -> Json:
    """One case without prose and with only what is compared."""
    kind = case["kind"]
    partial = PARTIAL.get(kind, {}).get(case["id"], Partial((), (), ""))
    procedure = {name: value for name, value in case["procedure"].items() if name not in PROSE}
    stats = {k: v for k, v in flat_statistics(case["stats"]).items() if k not in partial.left_out}
    if "drift" not in case["rpu_config"].get("device", {}):
        stats = {k: v for k, v in stats.items() if not k.startswith("drift_nu")}
    for entry in stats.values():
        if "pulse_count_values" in entry:
            procedure["pulse_count_values"] = entry.pop("pulse_count_values")
    if kind == "device_trace":
        given = procedure["hidden_parameters"]
        procedure["hidden_parameters"] = {name: given[name] for name in PULSE_PARAMETERS if name in given}
        trace = stats["weights"]
        trace["value"] = rounded(trace["value"], TRACE_DIGITS)
        if case["index"] != list(range(1, len(trace["value"]) + 1)):
            procedure["index"] = case["index"]
        if case["rpu_config"].get("device", {}).get("class") in ("SoftBoundsDevice", "SoftBoundsPmaxDevice"):
            tolerances = {"stderr": 0, "exact": True, "atol": 1e-9, "rtol": 2e-6}
            stats |= {name: {"value": given[name], **tolerances} for name in ("slope_up", "slope_down")}
    if kind == "weight_programming" and case["id"] in PARTIAL[kind]:
        procedure["checkpoints"] = procedure["checkpoints"][1:]
        for entry in stats.values():
            entry["value"], entry["stderr"] = entry["value"][1:], entry["stderr"][1:]
    if kind.startswith("compound"):
        compact_compound(case, procedure, stats)
    if kind == "mvm":
        procedure = mvm_procedure(procedure)
    if kind in ("modifier", "clip_remap"):
        config = weight_operation(case, procedure)
    else:
        config = compact_config(case["rpu_config"], partial.without)
    return {"id": case["id"], "config": config, "procedure": procedure, "quirks": case["quirks"], "stats": stats}


def compact_compound(case: Json, procedure: Json, stats: Json) -> None:
    """Start and recorded calls of a case of cells; of a trace only some calls are kept."""
    start, index = procedure.pop("state_after_setting_w0", None), case["index"]
    if start is None:  # the formula of all cases
        rows, columns = range(procedure["out_size"]), range(procedure["in_size"])
        start = {"W": [[0.05 * math.cos(1 + i + 2 * j) for j in columns] for i in rows]}
    if case["kind"] == "compound_trace":
        if case["id"] in SHIFTED and case["id"] != "mixedprecision_batch":
            start = {name: entry["value"][0] for name, entry in stats.items()}
        index = checkpoints(case["id"], procedure["steps_total"])
        for entry in stats.values():
            entry["value"] = rounded([entry["value"][case["index"].index(n)] for n in index], TRACE_DIGITS)
    else:
        for entry in stats.values():
            entry["value"], entry["stderr"] = rounded(entry["value"], 8), rounded(entry["stderr"], 3)
    procedure |= {"start": rounded_all(start), "index": index}
    for unused in ("index_meaning", "w0"):
        procedure.pop(unused, None)


def rounded_all(state: Json) -> Json:
    """Arrays by name, in single precision."""
    return {name: rounded(values, 9) for name, values in state.items()}


def write(kind: str, source: Path) -> None:
    """Write ``data/oracle_<kind>.json``: the ids of all cases, and the applicable ones, one a line."""
    content = json.loads((source / f"{kind}.json").read_text())
    if content["format"] != "aimc-oracle-1":
        sys.exit(f"{kind}.json has format {content['format']}; this script reads aimc-oracle-1")
    taken = [compact(case) for case in content["cases"] if case["id"] not in NOT_APPLICABLE[kind]]
    ids = [case["id"] for case in content["cases"]]
    lines = ",\n".join(json.dumps(case, separators=(",", ":")) for case in taken)
    DATA.mkdir(exist_ok=True)
    text = f'{{"kind":"{kind}","ids":{json.dumps(ids)},"cases":[\n{lines}\n]}}\n'
    (DATA / f"oracle_{kind}.json").write_text(text)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    for each in KINDS:
        write(each, Path(sys.argv[1]))
