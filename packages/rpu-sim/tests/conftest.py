"""Every exactness test runs on each back end of the machine and with several thread counts."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from exact import EMULATED, GPU, PLUGIN, computing_on
from hypothesis import HealthCheck, settings

from rpu_sim import backends, cuda, get_num_threads, set_num_threads

THREADS = (1, 2, 7)

_COMMON = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow, HealthCheck.filter_too_much]}
settings.register_profile("tests", derandomize=True, max_examples=100, database=None, **_COMMON)
settings.register_profile("fuzz", max_examples=5000, print_blob=True, **_COMMON)
settings.load_profile("tests")


@pytest.fixture(params=[*backends.isa_levels(), *EMULATED, *GPU])
def isa(request: pytest.FixtureRequest) -> Iterator[str]:
    """Runs the test on each instruction-set level, on CUDA kernels that the host emulates, and on a GPU."""
    with computing_on(request.param):
        yield request.param


@pytest.fixture(params=THREADS)
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    """Runs the test with one number of threads."""
    before = get_num_threads()
    set_num_threads(request.param)
    yield request.param
    set_num_threads(before)


@pytest.fixture(params=[*EMULATED, *GPU])
def device(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A GPU: the second of the emulated ones, or the first of this machine."""
    if request.param in EMULATED:
        found = cuda.examine(PLUGIN)
        monkeypatch.setattr(cuda, "state", lambda: found)
        yield "cuda:1"
    else:
        yield "cuda:0"
