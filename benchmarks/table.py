"""Results as data and as a markdown table: `python -m benchmarks.table results.json`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from benchmarks.interleave import Ratio


@dataclass(frozen=True)
class Timing:
    """A case timed beside a reference. `target` says in words what the project aims at; empty: at nothing."""

    group: str
    case: str
    reference: str
    ratio: Ratio
    target: str = ""


@dataclass(frozen=True)
class Figure:
    """A measured quantity other than a pair of times, such as memory."""

    group: str
    case: str
    value: str
    target: str = ""


@dataclass
class Results:
    """One run: the machine (label -> text) and what was measured on it."""

    machine: dict[str, str]
    timings: list[Timing] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)

    @classmethod
    def load(cls, path: Path) -> Results:
        """Read a file written by `save`, or by `pytest benchmarks/ --benchmark-json`."""
        data = json.loads(path.read_text())
        timings = [Timing(**{**row, "ratio": Ratio(**row["ratio"])}) for row in data["timings"]]
        return cls(data["machine"], timings, [Figure(**row) for row in data["figures"]])

    def save(self, path: Path) -> None:
        """Write everything as JSON."""
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")

    def markdown(self) -> str:
        """The machine as a list, then one table per group."""
        parts = ["\n".join(f"* {label}: {text}" for label, text in self.machine.items())]
        for group in dict.fromkeys(row.group for row in self.timings):
            parts.append(f"**{group}**\n\n{_timing_table(row for row in self.timings if row.group == group)}")
        for group in dict.fromkeys(row.group for row in self.figures):
            parts.append(f"**{group}**\n\n{_figure_table(row for row in self.figures if row.group == group)}")
        return "\n\n".join(parts) + "\n"


def duration(seconds: float) -> str:
    """Seconds in the unit that suits them, to three digits."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-9:.3g} ns"


def said(ratio: float) -> str:
    """A time over its reference's as a reader says it: '53x faster' or '1.24x the time'."""
    return f"{1 / ratio:.3g}x faster" if ratio < 1 else f"{ratio:.3g}x the time"


def compared(ratio: Ratio) -> str:
    """The same with the quartiles of the rounds."""
    low, high = sorted((1 / ratio.low, 1 / ratio.high)) if ratio.middle < 1 else (ratio.low, ratio.high)
    return f"{said(ratio.middle)} ({low:.3g} .. {high:.3g})"


def _grid(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _timing_table(rows: Iterable[Timing]) -> str:
    return _grid(
        ("case", "time", "reference", "its time", "compared (quartiles)", "target"),
        (
            (
                row.case,
                duration(row.ratio.subject),
                row.reference,
                duration(row.ratio.reference),
                compared(row.ratio),
                row.target,
            )
            for row in rows
        ),
    )


def _figure_table(rows: Iterable[Figure]) -> str:
    return _grid(("case", "measured", "target"), ((row.case, row.value, row.target) for row in rows))


def main() -> None:
    """Print the markdown of one or more result files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path, nargs="+", help="JSON files of earlier runs")
    for path in parser.parse_args().results:
        print(Results.load(path).markdown())


if __name__ == "__main__":
    main()
