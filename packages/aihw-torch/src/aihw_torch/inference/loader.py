"""Batches of data as users give them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from aihw_torch.errors import ConfigError


def check_repeatable(loader: Any, times: int) -> None:
    """Raise `ConfigError` for a loader that gives its batches only once and is to be read so many times."""
    if times > 1 and isinstance(loader, Iterator):
        raise ConfigError(
            f"the loader is read {times} times and a {type(loader).__name__} gives its batches only once; give a list "
            "of them or a DataLoader"
        )


def arguments(batch: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return (args, kwargs) for the model: of such a pair, of (input, target, ...), of a dict, or of an input alone."""
    if isinstance(batch, Mapping):
        return (), dict(batch)
    if isinstance(batch, tuple | list):
        if len(batch) == 2 and isinstance(batch[1], Mapping):
            args = batch[0] if isinstance(batch[0], tuple | list) else (batch[0],)
            return tuple(args), dict(batch[1])
        return (batch[0],), {}
    return (batch,), {}
