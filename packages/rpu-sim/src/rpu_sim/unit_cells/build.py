"""From the configuration of a device to the cells that simulate it."""

from __future__ import annotations

from typing import Any

from ..arrays import Float32
from ..config import MixedPrecisionCompound, UnitCell, UpdateParameters
from ..device_array import DeviceArray
from .protocol import Cells


def make_cells(device: Any, update: UpdateParameters, weight: Float32, seed: int, steps: dict[str, int]) -> Cells:
    """Cells of a checked device, cell or compound behind the array ``weight``.

    Args:
        device: The configuration.
        update: Parameters of the pulses of the gradient.
        weight: Float32 [out, in]; holds the weight that products read, changed in place.
        seed: From which all random numbers follow.
        steps: Counters of update and lifecycle calls, advanced in place.
    """
    from .graph import CellGraph  # a graph makes its own parts
    from .rank_update import RankUpdateCells

    if isinstance(device, UnitCell):
        return CellGraph(device, update, weight, seed, steps)
    if isinstance(device, MixedPrecisionCompound):
        return RankUpdateCells(device, update, weight, seed, steps)
    return DeviceArray(device, weight, seed, steps)
