"""Cells of several devices per crosspoint, as graphs of arrays: read-out factors, update policies, transfers."""

from __future__ import annotations

from .build import make_cells
from .graph import CellGraph
from .protocol import Cells

__all__ = ["CellGraph", "Cells", "make_cells"]
