"""The array libraries that the tests run on."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

Array = Any

MODULES = {"numpy": "numpy", "torch": "torch", "jax": "jax.numpy", "array_api_strict": "array_api_strict"}


@dataclass(frozen=True)
class Backend:
    """One array library: converts from and to NumPy."""

    name: str
    array: Callable[[Any], Array]

    def numpy(self, x: Array) -> np.ndarray:
        return np.asarray(x)


def backend_named(name: str) -> Backend:
    """The library, or a skip where it is not installed."""
    try:
        module = importlib.import_module(MODULES[name])
    except ImportError:
        pytest.skip(f"{name} is not installed; install it to test with it")
    if name == "torch":
        module.set_num_threads(1)  # many small operations: threads only wait for each other
    return Backend(name, module.asarray)
