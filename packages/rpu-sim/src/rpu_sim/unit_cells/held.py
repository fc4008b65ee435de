"""State beside the devices: buffers, choppers, counters."""

from __future__ import annotations

import numpy as np

from .. import state
from .protocol import Arrays


def check(held: Arrays, arrays: Arrays, prefix: str) -> None:
    """Raise `StateError` unless the saved arrays have the kinds and shapes of those held."""
    for name, values in held.items():
        where = prefix + name
        if values.dtype == np.int64:
            state.check_counts(arrays[where], values.shape, where)
        else:
            state.check_numbers(arrays[where], values.shape, where)


def restore(held: Arrays, arrays: Arrays, prefix: str) -> None:
    """Write saved arrays into those held, which others borrow."""
    for name, values in held.items():
        values[...] = arrays[prefix + name]


def keep(held: Arrays, previous: Arrays) -> None:
    """Take over what a previous part held under the same name and shape."""
    for name in held.keys() & previous.keys():
        if held[name].shape == previous[name].shape:
            held[name][...] = previous[name]
