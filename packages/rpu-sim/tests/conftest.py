"""Every exactness test runs on each instruction-set level of the machine and with several thread counts."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from rpu_sim import backends, get_num_threads, set_num_threads

THREADS = (1, 2, 7)


@pytest.fixture(params=backends.isa_levels())
def isa(request: pytest.FixtureRequest) -> Iterator[str]:
    """Runs the test on one instruction-set level."""
    before = backends.isa()
    backends.set_isa(request.param)
    yield request.param
    backends.set_isa(before)


@pytest.fixture(params=THREADS)
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    """Runs the test with one number of threads."""
    before = get_num_threads()
    set_num_threads(request.param)
    yield request.param
    set_num_threads(before)
