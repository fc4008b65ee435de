"""Two threads beside one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest
import torch

from benchmarks.cases import Case, operands
from benchmarks.conftest import SideBySide
from benchmarks.interleave import Local
from benchmarks.tiles import prepare, set_num_threads

pytestmark = pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="needs two cores")


def cases(*, full: bool) -> list[Case]:
    few = [
        ("update", "constant", 512, 8),
        ("update", "constant", 512, 64),
        ("update", "soft", 512, 64),
        ("forward", "constant", 512, 64),
    ]
    return [Case(operation, device, size, size, batch) for operation, device, size, batch in few]


@pytest.fixture(autouse=True)
def configured_threads(request: pytest.FixtureRequest) -> Iterator[None]:
    """Put the threads back that the options ask for."""
    yield
    set_num_threads(request.config.getoption("--threads"))
    torch.set_num_threads(request.config.getoption("--threads"))


def with_threads(side: Local, threads: int, setter: Callable[[int], None] = set_num_threads) -> Local:
    """`side` on `threads` threads."""

    def restore() -> None:
        setter(threads)
        side.restore()

    return Local(side.call, restore)


def test_two_threads(case: Case, side_by_side: SideBySide) -> None:
    side = prepare(case)
    target = ">= 1.7x faster" if case.operation == "update" else ""
    side_by_side("two threads", str(case), with_threads(side, 2), "one thread", with_threads(side, 1), target)


def test_torch_product_on_two_threads(side_by_side: SideBySide) -> None:
    """How well a plain matrix product scales on this machine, to compare with."""
    inputs = operands(Case("forward", "constant", 512, 512, 64))
    weights, x = torch.from_numpy(inputs.weights), torch.from_numpy(inputs.x)
    side = Local(lambda: torch.mm(x, weights.T))
    two, one = (with_threads(side, threads, torch.set_num_threads) for threads in (2, 1))
    side_by_side("two threads", "torch product 512x512-b64", two, "one thread", one)
