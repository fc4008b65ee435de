"""Our pulsed updates and matrix-vector products against the peer toolkit's: `python -m benchmarks.peer --peer PYTHON`.

`dev/install_peer.py` makes the peer's environment. Each side runs in a process of its own, one block at a time in turn.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from statistics import geometric_mean

from benchmarks.cases import (
    APPROXIMATE,
    CELLS,
    Case,
    NetworkCase,
    cell_cases,
    mvm_cases,
    network_cases,
    parse,
    update_cases,
)
from benchmarks.interleave import CLOCKS, Ratio, interleave
from benchmarks.machine import describe
from benchmarks.table import Results, Timing, compared, said
from benchmarks.worker import Remote


def target(case: Case | NetworkCase) -> str:
    """What the project aims at for `case`; draws merge completely for steps that do not depend on the weight."""
    if isinstance(case, NetworkCase):
        return ">= 5x faster"
    if case.operation != "update":
        return ">= 2.5x faster"
    if case.device in CELLS:
        return ""
    if case.device == "constant":
        return f">= {3 if case.batch < 8 else 12 if case.batch < 32 else 40}x faster"
    if case.batch < 32:
        return ""
    if APPROXIMATE.get(case.device, ("", ""))[1] == "CLOSED_FORM":
        return ">= 40x faster"
    moments = {"linear_additive", "soft_additive", "soft_reference", *APPROXIMATE}
    return ">= 15x faster" if case.device in moments else ">= 8x faster"


def compare(ours: Remote, peer: Remote, case: Case | NetworkCase) -> Timing:
    """Time `case` on both sides."""
    for side in (ours, peer):
        side.prepare(case)
    own_times, peer_times = interleave([ours, peer])
    group = case.operation
    if isinstance(case, NetworkCase):
        group = "training step"
    elif case.device in CELLS:
        group = "step of a cell"
    return Timing(f"{group}, against the peer", str(case), "peer", Ratio.of(own_times, peer_times), target(case))


def summary(results: Results) -> str:
    """The geometric mean per operation, device and class of batch size: the numbers that the targets speak of."""
    classes: dict[str, list[float]] = {}
    for row in results.timings:
        case = parse(row.case)
        batch = "1" if case.batch == 1 else "8" if case.batch < 32 else "32 and up"
        classes.setdefault(f"{case.operation} {case.device}, batch {batch}", []).append(row.ratio.middle)
    means = {name: geometric_mean(ratios) for name, ratios in classes.items()}
    lines = [f"* {name}: {said(mean)} ({len(classes[name])} cases)" for name, mean in means.items()]
    return "Geometric means:\n\n" + "\n".join(lines)


def main() -> None:
    """Run the cases and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", required=True, help="the Python of the peer's environment")
    parser.add_argument(
        "--ours", default=sys.executable, help="the Python that has rpu-sim and torch (default: this one)"
    )
    parser.add_argument("--cases", nargs="*", type=parse, help="default: a quick set")
    parser.add_argument("--full", action="store_true", help="every device, size and batch size (an hour)")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--clock", default="wall", choices=CLOCKS, help="cpu: for a busy machine, with --threads 1")
    parser.add_argument("--json", type=Path, help="also write the results here")
    arguments = parser.parse_args()
    cases = arguments.cases or [
        case for kind in (update_cases, mvm_cases, cell_cases, network_cases) for case in kind(full=arguments.full)
    ]
    machine = {**describe(arguments.threads), "clock": arguments.clock}
    how = ("torch", arguments.threads, arguments.clock)
    results = Results(machine)
    # Networks in processes of their own, because aihw-torch lets tiles compute on torch's threads.
    networks = [case for case in cases if isinstance(case, NetworkCase)]
    for some in ([case for case in cases if case not in networks], networks):
        if not some:
            continue
        with Remote(arguments.ours, "ours", *how) as ours, Remote(arguments.peer, "peer", *how) as peer:
            results.machine.update({**ours.facts(), **peer.facts()})
            for case in some:
                row = compare(ours, peer, case)
                print(f"{row.case}: {compared(row.ratio)}", file=sys.stderr, flush=True)
                results.timings.append(row)
    if arguments.json:
        results.save(arguments.json)
    print(results.markdown())
    print(summary(results))


if __name__ == "__main__":
    main()
