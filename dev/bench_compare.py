"""Compare two builds in one run: `python dev/bench_compare.py --base PYTHON --head PYTHON [--cases NAME ...]`.

The pythons belong to two environments with the builds installed; both run the cases of this working tree. Blocks of the
two alternate on one machine, so a ratio means something where two separate runs would not. It reports and never fails.
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # a script's own folder is on the path, the root is not

from benchmarks.cases import Case, mvm_cases, update_cases
from benchmarks.interleave import CLOCKS, Ratio, interleave
from benchmarks.machine import describe
from benchmarks.table import Results, Timing, compared
from benchmarks.worker import Remote

PROCESSES = 3  # where the loader and the allocator put things differs between processes, by 10 % of the time and more


@dataclass(frozen=True)
class Pair:
    """The two builds to compare, by their Pythons."""

    base: str
    head: str
    threads: int
    clock: str

    def worker(self, python: str) -> Remote:
        """A fresh process of one build."""
        return Remote(python, "ours", "numpy", self.threads, self.clock)

    def times(self, case: Case) -> tuple[list[float], list[float]]:
        """Seconds per call in each round, of the base and of the head, from one fresh process of each."""
        with (
            self.worker(self.base) as base,
            self.worker(self.head) as head,
        ):
            base.prepare(case)
            head.prepare(case)
            base_times, head_times = interleave([base, head])
        return base_times, head_times

    def compare(self, case: Case) -> tuple[Ratio, str]:
        """The ratio over all rounds of all processes, and 'slower', 'faster' or 'same'.

        A difference counts where every pair of processes shows one of more than 3 % in the same direction.
        """
        runs = [self.times(case) for _ in range(PROCESSES)]
        middles = [Ratio.of(head, base).middle for base, head in runs]
        verdict = "slower" if min(middles) > 1.03 else "faster" if max(middles) < 1 / 1.03 else "same"
        base_times, head_times = (list(chain.from_iterable(times)) for times in zip(*runs, strict=True))
        return Ratio.of(head_times, base_times), verdict

    def facts(self) -> dict[str, str]:
        """Versions of both builds."""
        facts = {}
        for name, python in (("base", self.base), ("head", self.head)):
            with self.worker(python) as side:
                facts.update({f"{name} {label}": text for label, text in side.facts().items()})
        return facts


def main() -> None:
    """Run the cases on both builds and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", required=True, help="the Python with the build to compare with")
    parser.add_argument("--head", required=True, help="the Python with the new build")
    parser.add_argument("--cases", nargs="*", type=Case.parse, help="default: the quick set")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--clock", default="wall", choices=CLOCKS, help="cpu: for a busy machine, with --threads 1")
    parser.add_argument("--json", type=Path, help="also write the results here")
    arguments = parser.parse_args()
    pair = Pair(arguments.base, arguments.head, arguments.threads, arguments.clock)
    results = Results({**describe(arguments.threads), "clock": arguments.clock, **pair.facts()})
    for case in arguments.cases or update_cases(full=False) + mvm_cases(full=False):
        ratio, verdict = pair.compare(case)
        print(f"{case}: {verdict}, {compared(ratio)}", file=sys.stderr, flush=True)
        results.timings.append(Timing(f"head against base: {verdict}", str(case), "base", ratio))
    if arguments.json:
        results.save(arguments.json)
    print(results.markdown())


if __name__ == "__main__":
    main()
