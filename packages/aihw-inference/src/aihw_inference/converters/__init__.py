"""Conductance converters: weights to K conductances per weight and back."""

from __future__ import annotations

from .base import BaseConductanceConverter, ConversionParameters
from .custom import CustomPairConductanceConverter
from .pairs import DualPairConductanceConverter, NPairConductanceConverter, SinglePairConductanceConverter
from .single_device import SingleDeviceConductanceConverter

__all__ = [
    "BaseConductanceConverter",
    "ConversionParameters",
    "CustomPairConductanceConverter",
    "DualPairConductanceConverter",
    "NPairConductanceConverter",
    "SingleDeviceConductanceConverter",
    "SinglePairConductanceConverter",
]
