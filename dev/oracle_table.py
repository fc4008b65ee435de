"""Write the table of all reference cases: how far rpu-sim is from each, or why one does not apply.

    python dev/oracle_table.py [FILE]

``FILE`` (docs/oracle.md) is overwritten; a name that ends in ``.csv`` gives the same rows as CSV. Exits with 1 when a
case disagrees.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "packages" / "rpu-sim" / "tests"))

from oracle_cases import (  # noqa: E402
    BY_DESIGN,
    KINDS,
    NOT_APPLICABLE,
    PARTIAL,
    ByDesign,
    all_ids,
    cases,
)
from oracle_comparison import comparisons  # noqa: E402
from oracle_compounds import SHIFTED, TRANSLATED  # noqa: E402

TITLES = {
    "device_trace": "Single pulses of given devices, exact",
    "population": "Drawn device parameters",
    "pulse_response": "Pulses up, then down, on drawn devices",
    "update": "One update call",
    "base_process": "Decay, diffusion, drift, reset and write noise",
    "compound_trace": "Unit cells and compounds, exact",
    "compound_stat": "Unit cells and compounds with random elements",
    "weight_programming": "Complete configurations learn a matrix",
    "modifier": "Modified copies of weights",
    "clip_remap": "Clipping, mapping and remapping of weights, exact",
    "mvm": "One matrix-vector product",
}

PAGE = """\
# Agreement with reference statistics

Written by `python dev/oracle_table.py`; do not edit.

The reference numbers come from an established simulator, run as a black box on a CPU in single precision: exact weights
where a run can be made deterministic, elsewhere means, spreads and percentiles with standard errors. Each case is
repeated with `rpu_sim.Tile` and every entry is compared:

* exact entries within their tolerance (5e-6 for traces). The table gives the largest deviation in percent of it;
* others within five joint standard errors, plus the known systematic errors of the reference. The table gives the
  largest z (deviation in joint standard errors) and the mean of z², which is near 1 when two samples have the same law.
  Entries of a case share their samples, so their z values are correlated and one chance deviation shows in many.

Some defects of the reference are corrected here. Where a case shows one it "differs by design": the statistics named in
the note are compared with the corrected values, exactly, and all others with the reference; or, where it names a law,
all are compared with that law.

The tests of `rpu-sim` run the same comparison. Cases that do not apply are listed with the reason and
with the test that checks what we do instead, so none is left out silently.

"""


class Row(NamedTuple):
    """One case."""

    case: str
    verdict: str
    entries: int
    exact_percent: str
    largest_z: str
    mean_z2: str
    note: str


def note_of(case: str) -> str:
    """What was changed in a case because we differ from the reference on purpose."""
    return TRANSLATED[case][1] if case in TRANSLATED else SHIFTED.get(case, "")


def expectation(design: ByDesign) -> str:
    """The reason of a difference and what is expected instead."""
    values = ", ".join(f"`{name}` = {value:g}" for name, value in design.expected.items())
    return f"{design.reason}: {values}" if values else design.reason


def rows(kind: str) -> list[Row]:
    """All cases of a kind in the order of the reference."""
    applicable = {case.id: case for case in cases(kind)}
    table = []
    for name in all_ids(kind):
        if name not in applicable:
            table.append(Row(name, "does not apply", 0, "", "", "", NOT_APPLICABLE[kind][name]))
            continue
        found = comparisons(applicable[name])
        z = np.concatenate([c.z for c in found])
        exact = [float(np.max(c.ratio)) for c in found if applicable[name].stats[c.name].exact]
        partial = PARTIAL.get(kind, {}).get(name)
        design = BY_DESIGN.get(kind, {}).get(name)
        notes = [partial.reason if partial else "", expectation(design) if design else "", note_of(name)]
        agrees = "differs by design" if design else "agrees"
        table.append(
            Row(
                name,
                agrees if all(float(np.max(c.ratio)) <= 1 for c in found) else "DISAGREES",
                sum(expected.value.size for expected in applicable[name].stats.values()),
                f"{100 * max(exact):.0f} %" if exact else "",
                f"{z.max():.1f}" if z.size else "",
                f"{np.mean(z**2):.2f}" if z.size else "",
                "; ".join(text for text in notes if text),
            )
        )
    return table


def markdown(tables: dict[str, list[Row]]) -> str:
    """The page of the documentation."""
    text = PAGE + "| kind | cases | agree | differ by design | do not apply |\n|---|---|---|---|---|\n"
    for kind, table in tables.items():
        verdicts = ("agrees", "differs by design", "does not apply")
        counts = " | ".join(str(sum(row.verdict == v for row in table)) for v in verdicts)
        text += f"| {TITLES[kind]} | {len(table)} | {counts} |\n"
    for kind, table in tables.items():
        text += f"\n## {TITLES[kind]}\n\n"
        text += "| case | verdict | entries | exact, of tolerance | largest z | mean z² | note |\n"
        text += "|---|---|---|---|---|---|---|\n"
        for row in table:
            entries = str(row.entries or "")
            cells = (f"`{row.case}`", row.verdict, entries, row.exact_percent, row.largest_z, row.mean_z2, row.note)
            text += f"| {' | '.join(cells)} |\n"
    return text


def main(target: Path) -> int:
    """Write the table and say whether every case agrees."""
    tables = {kind: rows(kind) for kind in KINDS}
    if target.suffix == ".csv":
        with target.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["kind", *Row._fields])
            writer.writerows([kind, *row] for kind, table in tables.items() for row in table)
    else:
        target.write_text(markdown(tables), encoding="utf-8")
    verdicts = [row.verdict for table in tables.values() for row in table]
    counts = {verdict: verdicts.count(verdict) for verdict in sorted(set(verdicts))}
    print(f"{target}: " + ", ".join(f"{n} {verdict}" for verdict, n in counts.items()))
    return int("DISAGREES" in counts)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "oracle.md"))
