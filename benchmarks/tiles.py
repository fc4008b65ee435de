"""The cases on our own tiles."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from itertools import cycle
from typing import Any

import numpy as np

import rpu_sim
import rpu_sim.config
from benchmarks.cases import LEARNING_RATE, Case, NetworkCase, build_config, operands
from benchmarks.interleave import Local


def as_arrays(framework: str) -> Callable[[np.ndarray], Any]:
    """The function that turns a NumPy array into one of `framework` ('numpy' or 'torch')."""
    if framework == "numpy":
        return lambda array: array
    import torch

    return torch.from_numpy


def prepare(case: Case | NetworkCase, framework: str = "numpy") -> Local:
    """The calls of `case` on a `rpu_sim.Tile` whose arrays are of `framework`, or on layers of aihw-torch.

    Successive updates take d and -d in turn, and each block starts from the same weights: the same update over and over
    would drive all cells into their bounds.
    """
    if isinstance(case, NetworkCase):
        import aihw_torch.config
        from aihw_torch.nn import convert_to_analog
        from aihw_torch.optim import AnalogSGD
        from benchmarks import lenet

        return lenet.prepare(case, aihw_torch.config, convert_to_analog, AnalogSGD)
    inputs = operands(case)
    convert = as_arrays(framework)
    x, d = convert(inputs.x), convert(inputs.d)
    tile = rpu_sim.Tile(case.out_size, case.in_size, build_config(rpu_sim.config, case), seed=1, like=x)
    upper = np.asarray(tile.hidden_parameters()["max_bound"]) if case.near else 0.0
    weights = convert(np.where(inputs.at_bound, upper, inputs.weights).astype(np.float32))

    def restore() -> None:
        tile.set_weights(weights)

    restore()
    if case.device == "agad":  # its first sweeps write nothing
        for _ in range(4 * case.in_size):
            tile.update(x[:1], d[:1], LEARNING_RATE)
    if case.operation == "forward":
        return Local(lambda: tile.forward(x))
    if case.operation == "backward":
        return Local(lambda: tile.backward(d))
    signed = cycle((d, -d))
    return Local(lambda: tile.update(x, next(signed), LEARNING_RATE), restore)


def facts() -> dict[str, str]:
    """Version and instruction set of the library that is measured."""
    return {"rpu_sim": rpu_sim.__version__, "ISA": rpu_sim.backends.isa()}


def set_num_threads(threads: int) -> None:
    """Let the tiles, and torch if it is there, use `threads` threads."""
    rpu_sim.set_num_threads(threads)
    with contextlib.suppress(ImportError):
        import torch

        torch.set_num_threads(threads)
