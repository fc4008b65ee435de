"""The bit-exact oracle: the same arithmetic as the compiled core, in plain NumPy, slow and readable.

Every function follows its counterpart in ``core/`` operation by operation in float32, so results are compared bit for
bit. Use it to read what the simulator does, and to test a new kernel.
"""

from __future__ import annotations

from . import (
    array,
    cells,
    devices,
    flow,
    fmath,
    mvm,
    philox,
    population,
    time_slices,
    trains,
    transfer,
    update,
    weight_ops,
)

__all__ = [
    "array",
    "cells",
    "devices",
    "flow",
    "fmath",
    "mvm",
    "philox",
    "population",
    "time_slices",
    "trains",
    "transfer",
    "update",
    "weight_ops",
]
