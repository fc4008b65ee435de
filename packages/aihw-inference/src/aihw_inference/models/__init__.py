"""Noise models of memory devices."""

from __future__ import annotations

from .base import BaseNoiseModel
from .cmo import ReRamCMONoiseModel
from .custom_drift import CustomDriftPCMLikeNoiseModel
from .fitted_pcm import FittedPCMNoiseModel
from .hermes import HermesNoiseModel
from .pcm import PCMLikeNoiseModel
from .power_law import PowerLawNoiseModel
from .state_independent import StateIndependentNoiseModel
from .wan2022 import ReRamWan2022NoiseModel
from .weight_noise import PCMWeightNoiseModel

__all__ = [
    "BaseNoiseModel",
    "CustomDriftPCMLikeNoiseModel",
    "FittedPCMNoiseModel",
    "HermesNoiseModel",
    "PCMLikeNoiseModel",
    "PCMWeightNoiseModel",
    "PowerLawNoiseModel",
    "ReRamCMONoiseModel",
    "ReRamWan2022NoiseModel",
    "StateIndependentNoiseModel",
]
