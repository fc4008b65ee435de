"""Analog layers."""

from __future__ import annotations

from aihw_torch.nn.base import AnalogLayerBase
from aihw_torch.nn.container import AnalogContainerBase, AnalogSequential
from aihw_torch.nn.linear import AnalogLinear

__all__ = ["AnalogContainerBase", "AnalogLayerBase", "AnalogLinear", "AnalogSequential"]
