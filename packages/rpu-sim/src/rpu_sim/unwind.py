"""Moves that happen as a whole or not at all, also where a GPU runs out of memory in the middle."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def all_or_nothing(root: Any) -> Iterator[None]:
    """Give an object back its attributes if the block raises, and likewise all of its parts that have a method `move`.

    The block must put new arrays in the place of old ones and leave these as they are: they are kept, not copied.
    """
    before = [(part, dict(vars(part)), _entries(part)) for part in _parts(root)]
    try:
        yield
    except BaseException:
        for part, attributes, entries in before:
            vars(part).clear()
            vars(part).update(attributes)
            for name, values in entries.items():
                attributes[name].clear()
                attributes[name].update(values)
        raise


def _entries(part: Any) -> dict[str, dict[Any, Any]]:
    """Copies of the dicts that are attributes."""
    return {name: dict(value) for name, value in vars(part).items() if isinstance(value, dict)}


def _parts(root: Any) -> list[Any]:
    """The object and what moves with it, each once."""
    found, waiting = {id(root): root}, [root]
    while waiting:
        for value in vars(waiting.pop()).values():
            for part in value if isinstance(value, (list, tuple)) else (value,):
                if hasattr(part, "move") and id(part) not in found:
                    found[id(part)] = part
                    waiting.append(part)
    return list(found.values())
