"""Values that backward passes leave for the step: kept as they are, and copied where somebody could write to them."""

from __future__ import annotations

import torch
from torch import Tensor


def give_away(values: Tensor) -> Tensor:
    """Say that nobody will write to these values any more, so that a record may keep them instead of a copy."""
    values.is_given_away = True  # type: ignore[attr-defined]
    return values


def unchanging(values: Tensor) -> Tensor:
    """Return values that stay as they are, contiguous: a copy, unless they were given away."""
    if hasattr(values, "is_given_away") and values.is_contiguous():
        return values.detach()
    return values.clone(memory_format=torch.contiguous_format)  # backward passes run without gradients


def keep_rows(values: Tensor) -> Tensor:
    """Return values [..., width] that stay as they are as a matrix [samples, width], which several records may keep."""
    values = unchanging(values)
    return give_away(values if values.ndim == 2 else values.view(-1, values.shape[-1]))
