"""What an input of a matrix has to be before anything else is looked at."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from aihw_torch.errors import DtypeError


def check_dense(x: Any, matrix: Any) -> None:
    """Raise `DtypeError` unless x is a dense tensor; it is the input of a tile, or of several."""
    if isinstance(x, Tensor) and x.layout is torch.strided and not x.is_nested:
        return
    kind = type(x).__name__ if not isinstance(x, Tensor) else "a nested one" if x.is_nested else x.layout
    shape = f"{matrix.out_size} x {matrix.in_size}"
    raise DtypeError(f"the analog matrix of {shape} takes a dense torch.Tensor, not {kind}; convert the input")
