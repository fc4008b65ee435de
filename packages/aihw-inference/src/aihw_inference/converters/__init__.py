"""Conductance converters: weights to K conductances per weight and back."""

from __future__ import annotations

from .base import BaseConductanceConverter, ConversionParameters
from .custom import CustomPairConductanceConverter
from .fusion import FusionConductanceConverter, FusionParameters
from .pairs import (
    DualPairConductanceConverter,
    NPairConductanceConverter,
    SinglePairConductanceConverter,
    WeightedPairs,
)
from .single_device import SingleDeviceConductanceConverter

__all__ = [
    "BaseConductanceConverter",
    "ConversionParameters",
    "CustomPairConductanceConverter",
    "DualPairConductanceConverter",
    "FusionConductanceConverter",
    "FusionParameters",
    "NPairConductanceConverter",
    "SingleDeviceConductanceConverter",
    "SinglePairConductanceConverter",
    "WeightedPairs",
]
