"""Moves of a tile that happen as a whole or not at all, also where a GPU runs out of memory in the middle."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

_data: Any = Tensor.data  # of tensors: that of a `PulsedWeight` writes into the array


@contextmanager
def all_or_nothing(tile: nn.Module) -> Iterator[None]:
    """Give a module back its attributes, parameters, buffers and gradients if the block raises; nothing is copied."""
    attributes = dict(vars(tile))
    groups = {name: dict(attributes[name]) for name in ("_parameters", "_buffers")}
    parameters = [parameter for parameter in groups["_parameters"].values() if parameter is not None]
    gradients = [parameter.grad for parameter in parameters]
    values = [None if tensor is None else _data.__get__(tensor) for tensor in (*parameters, *gradients)]
    try:
        yield
    except BaseException:
        vars(tile).clear()
        vars(tile).update(attributes)
        for name, tensors in groups.items():
            attributes[name].clear()
            attributes[name].update(tensors)
        for parameter in parameters:
            parameter.grad = None
        for tensor, held in zip((*parameters, *gradients), values, strict=True):
            if tensor is not None:
                _data.__set__(tensor, held)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        raise
