"""Options of `pytest benchmarks/` and the fixture that times a subject and its reference in turn."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

import rpu_sim
from benchmarks.interleave import CLOCKS, Local, Ratio, plan
from benchmarks.machine import describe
from benchmarks.table import Figure, Results, Timing
from benchmarks.tiles import facts

RESULTS = pytest.StashKey[Results]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("rpu-sim benchmarks")
    group.addoption("--full-set", action="store_true", help="every device, size and batch size instead of a quick set")
    group.addoption("--clock", default="wall", choices=CLOCKS, help="cpu: for a busy machine, with --threads 1")
    group.addoption("--threads", type=int, default=os.cpu_count() or 1, help="threads of both torch and rpu_sim")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    config.option.benchmark_quiet = True  # its table of absolute times; ours follows
    threads = config.getoption("--threads")
    torch.set_num_threads(threads)
    rpu_sim.set_num_threads(threads)
    clock = config.getoption("--clock")
    config.option.benchmark_timer = f"time.{CLOCKS[clock].__name__}"
    config.stash[RESULTS] = Results({**describe(threads), "clock": clock, **facts()})


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test module names its cases in a function `cases(full)`; its tests take them as `case`."""
    if "case" in metafunc.fixturenames:
        cases = metafunc.module.cases(full=metafunc.config.getoption("--full-set"))
        metafunc.parametrize("case", cases, ids=str)


def pytest_benchmark_update_json(config: pytest.Config, benchmarks: Any, output_json: dict[str, Any]) -> None:
    output_json.update(asdict(config.stash[RESULTS]))


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    results = config.stash[RESULTS]
    if results.timings or results.figures:
        terminalreporter.write_line("")
        terminalreporter.write_line(results.markdown())


SideBySide = Callable[..., None]
Measure = Callable[..., None]


@pytest.fixture
def side_by_side(benchmark: BenchmarkFixture, request: pytest.FixtureRequest) -> SideBySide:
    """`side_by_side(group, case, subject, against, reference, target="")` times `subject` with `reference` in turn.

    pytest-benchmark times the blocks of the subject; its setup step, which it does not count, times those of the
    reference.
    """

    def measure(group: str, case: str, subject: Local, against: str, reference: Local, target: str = "") -> None:
        planned = plan([subject, reference])
        calls, reference_calls = planned.calls
        clock = CLOCKS[request.config.getoption("--clock")]
        reference_times: list[float] = []

        def before_each_round() -> None:
            reference_times.append(reference.block(reference_calls, clock))
            subject.warm(calls)

        benchmark.group = group
        benchmark.extra_info["calls per round"] = calls
        benchmark.pedantic(subject.run, args=(calls,), setup=before_each_round, rounds=planned.rounds)
        if benchmark.stats:  # absent under --benchmark-disable, which only checks that everything runs
            times = [seconds / calls for seconds in benchmark.stats.stats.data]
            row = Timing(group, case, against, Ratio.of(times, reference_times), target)
            request.config.stash[RESULTS].timings.append(row)

    return measure


@pytest.fixture
def figure(benchmark: BenchmarkFixture, request: pytest.FixtureRequest) -> Measure:
    """`figure(group, case, measure, target="")` records what `measure` returns, anything but a pair of times."""

    def run(group: str, case: str, measure: Callable[[], str], target: str = "") -> None:
        benchmark.group = group
        value = benchmark.pedantic(measure, rounds=1)
        request.config.stash[RESULTS].figures.append(Figure(group, case, value, target))

    return run
