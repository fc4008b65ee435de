"""Fixtures that run a test on every array library; the test ids carry the names."""

from __future__ import annotations

import pytest

from .backends import MODULES, Backend, backend_named


@pytest.fixture(params=list(MODULES))
def backend(request: pytest.FixtureRequest) -> Backend:
    return backend_named(request.param)


@pytest.fixture(params=[name for name in MODULES if name != "array_api_strict"])
def native_backend(request: pytest.FixtureRequest) -> Backend:
    """Libraries with a generator of their own."""
    return backend_named(request.param)
