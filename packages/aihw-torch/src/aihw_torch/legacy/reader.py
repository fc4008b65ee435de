"""Reading of a pickled checkpoint as data: tensors, plain objects, and records in the place of foreign classes.

Torch's own restricted unpickler does the reading (`torch.load(weights_only=True)`). Classes of aihwkit are stood in for
by records that keep their fields and do nothing; any other class or function that the file names is refused.
"""

from __future__ import annotations

import pickle
import zipfile
from os import PathLike
from typing import Any

import torch

from aihw_torch.errors import StateError

ROOT = "aihwkit."


class Record:
    """What a file says of an object: its class by name, its arguments and its fields."""

    arguments: tuple[Any, ...]

    def __new__(cls, *arguments: Any) -> Record:
        made = super().__new__(cls)
        object.__setattr__(made, "arguments", arguments)
        return made

    def __init__(self, *arguments: Any) -> None:
        pass

    @classmethod
    def path(cls) -> str:
        """The full name of the class, without `aihwkit.`."""
        return f"{cls.__module__}.{cls.__qualname__}".removeprefix(ROOT)

    @property
    def fields(self) -> dict[str, Any]:
        """The fields by name."""
        return {name: value for name, value in vars(self).items() if name != "arguments"}


def read(path: str | PathLike[str]) -> Any:
    """Return the content of a file of `torch.save`, with a `Record` for each object of aihwkit.

    Raises:
        StateError: it is no such file, or it names something else that would have to be executed.
    """
    try:
        named = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except FileNotFoundError:
        raise
    except (OSError, ValueError, RuntimeError, pickle.UnpicklingError, EOFError, zipfile.BadZipFile) as error:
        raise StateError(f"{path} is not a file of torch.save that can be read: {error}") from None
    if foreign := sorted(name for name in named if not name.startswith(ROOT)):
        raise StateError(
            f"{path} names {', '.join(foreign)}, which reading it would execute; only states are imported: save "
            "model.state_dict() with aihwkit"
        )
    records: list[Any] = [_record_class(name) for name in sorted(named)]
    try:
        with torch.serialization.safe_globals(records):
            return torch.load(path, map_location="cpu", weights_only=True)
    except (
        OSError,
        RuntimeError,
        pickle.UnpicklingError,
        EOFError,
        AttributeError,
        TypeError,
        KeyError,
        IndexError,
    ) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise StateError(f"{path} is damaged, or not a file of torch.save: {first}") from None


def _record_class(name: str) -> type[Record]:
    module, _, own = name.rpartition(".")
    return type(own, (Record,), {"__module__": module, "__qualname__": own})
