"""Which arrays a cell has, and how each counts in its weight."""

from __future__ import annotations

from typing import Any

from ..config import OneSidedUnitCell, ReferenceUnitCell, TransferCompound, UnitCell, VectorUnitCell
from .one_sided import mirrored


def devices_of(cell: UnitCell) -> list[Any]:
    """One device for each array of a cell: some cells repeat a device or leave one out."""
    given: list[Any] = list(cell.unit_cell_devices)
    if isinstance(cell, OneSidedUnitCell):
        return [given[0], mirrored(given[0]) if cell.copy_inverted else given[0]]
    if isinstance(cell, ReferenceUnitCell):
        return (given * 2)[:2]
    if isinstance(cell, TransferCompound):
        return [given[0], *[given[1]] * (len(given) - 1)]
    return given


def factors_of(cell: UnitCell) -> list[float]:
    """The factor of each array in the weight."""
    n = len(devices_of(cell))
    if isinstance(cell, OneSidedUnitCell):
        return [-1.0, 1.0]
    if isinstance(cell, TransferCompound):
        return list(cell.gamma_vec) or [cell.gamma ** (n - 1 - j) if n - 1 - j else 1.0 for j in range(n)]
    assert isinstance(cell, VectorUnitCell)
    return list(cell.gamma_vec) or [1.0 / n] * n
