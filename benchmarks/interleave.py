"""Timing of several sides in one run, block by block in turn, so that they share whatever the machine is doing.

Times of different hours or machines do not compare, and a processor that idled is slow for its first calls: each block
therefore restores the side's state, warms up, and only then times a number of calls back to back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median, quantiles
from time import perf_counter, process_time
from typing import Protocol

BLOCK_SECONDS = 0.02
CASE_SECONDS = 4.0
MIN_ROUNDS, MAX_ROUNDS = 5, 40
MAX_CALLS = 5000
# Processor time does not see other programs; it is the clock for busy machines, with one thread.
CLOCKS = {"wall": perf_counter, "cpu": process_time}


class Side(Protocol):
    """Something that can be timed: a callable here (`Local`) or one in another process (`worker.Remote`)."""

    def block(self, calls: int) -> float:
        """Seconds per call of `calls` warm calls in a row."""


@dataclass(frozen=True)
class Local:
    """A side in this process: `call` is timed, `restore` (untimed) puts its state back before each block."""

    call: Callable[[], object]
    restore: Callable[[], object] = lambda: None

    def warm(self, calls: int) -> None:
        """Restore the state and make the untimed calls that precede `calls` timed ones."""
        self.restore()
        for _ in range(1 + calls // 4):
            self.call()

    def run(self, calls: int) -> None:
        """Make `calls` calls."""
        for _ in range(calls):
            self.call()

    def block(self, calls: int, clock: Callable[[], float] = perf_counter) -> float:
        """Seconds per call of `calls` warm calls in a row."""
        self.warm(calls)
        start = clock()
        self.run(calls)
        return (clock() - start) / calls


@dataclass(frozen=True)
class Plan:
    """How many calls each side makes in a block, and how many rounds of blocks there are."""

    calls: list[int]
    rounds: int


def plan(sides: Sequence[Side]) -> Plan:
    """Blocks of about BLOCK_SECONDS, and as many rounds as fit into CASE_SECONDS, at least MIN_ROUNDS."""
    once = [min(side.block(1) for _ in range(3)) for side in sides]
    calls = [max(1, min(MAX_CALLS, round(BLOCK_SECONDS / seconds))) for seconds in once]
    per_round = sum(seconds * (count + 1 + count // 4) for seconds, count in zip(once, calls, strict=True))
    return Plan(calls, max(MIN_ROUNDS, min(MAX_ROUNDS, round(CASE_SECONDS / per_round))))


def interleave(sides: Sequence[Side]) -> list[list[float]]:
    """Seconds per call, [side][round]; every second round runs in reverse order, so that no side is always first."""
    planned = plan(sides)
    times: list[list[float]] = [[] for _ in sides]
    for turn in range(planned.rounds):
        order = range(len(sides)) if turn % 2 == 0 else range(len(sides) - 1, -1, -1)
        for index in order:
            times[index].append(sides[index].block(planned.calls[index]))
    return times


@dataclass(frozen=True)
class Ratio:
    """Time of a subject over time of a reference: the median over rounds of neighbours' ratios, and the quartiles."""

    subject: float
    reference: float
    middle: float
    low: float
    high: float

    @classmethod
    def of(cls, subject: Sequence[float], reference: Sequence[float]) -> Ratio:
        """From the times per round of both; round k of one was measured beside round k of the other."""
        ratios = [ours / theirs for ours, theirs in zip(subject, reference, strict=True)]
        low, middle, high = quantiles(ratios, n=4, method="inclusive") if len(ratios) > 1 else ratios * 3
        return cls(median(subject), median(reference), middle, low, high)
