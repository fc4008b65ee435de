"""The cases on the peer toolkit's CPU tile, through its public interface; runs in the peer's own environment."""

from __future__ import annotations

from itertools import cycle

import aihwkit
import torch
from aihwkit.nn.conversion import convert_to_analog
from aihwkit.optim import AnalogSGD
from aihwkit.simulator import configs
from aihwkit.simulator.tiles import AnalogTile

from benchmarks import lenet
from benchmarks.cases import LEARNING_RATE, Case, NetworkCase, build_config, operands
from benchmarks.interleave import Local


def prepare(case: Case | NetworkCase, framework: str = "torch") -> Local:
    """The calls of `case` on the native tile, its fastest entry, or on layers.

    `tiles.prepare` says why d changes sign.
    """
    if isinstance(case, NetworkCase):
        return lenet.prepare(case, configs, convert_to_analog, AnalogSGD)
    if framework != "torch" or case.near is not None:
        raise ValueError(f"The peer runs on torch tensors and without prescribed bounds, so not {case} on {framework}.")
    inputs = operands(case)
    x, d, weights = (torch.from_numpy(array) for array in (inputs.x, inputs.d, inputs.weights))
    tile = AnalogTile(case.out_size, case.in_size, build_config(configs, case)).tile
    tile.set_learning_rate(LEARNING_RATE)

    def restore() -> None:
        tile.set_weights(weights)

    restore()
    if case.device == "agad":  # its first sweeps write nothing
        for _ in range(4 * case.in_size):
            tile.update(x[:1], d[:1], False)
    if case.operation == "forward":
        return Local(lambda: tile.forward(x))
    if case.operation == "backward":
        return Local(lambda: tile.backward(d))
    signed = cycle((d, -d))
    return Local(lambda: tile.update(x, next(signed), False), restore)


def facts() -> dict[str, str]:
    """Version of the toolkit that is measured."""
    return {"aihwkit": aihwkit.__version__}


def set_num_threads(threads: int) -> None:
    """Let torch, and with it the BLAS of the toolkit, use `threads` threads."""
    torch.set_num_threads(threads)
