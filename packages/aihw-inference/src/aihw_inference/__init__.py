"""Statistical inference of weights in PCM and ReRAM crossbars, on any library of the Python array-API standard."""

from __future__ import annotations

from .compensation import (
    BaseDriftCompensation,
    CompensatedRead,
    GlobalDriftCompensation,
    GlobalDriftCompensationWithExactReference,
    PerColumnDriftCompensation,
    read_compensated,
    scale_outputs,
)
from .confidence import AgingCurve, ConfidenceInterval, aging_curve, confidence_interval
from .converters import (
    BaseConductanceConverter,
    ConversionParameters,
    CustomPairConductanceConverter,
    DualPairConductanceConverter,
    NPairConductanceConverter,
    SingleDeviceConductanceConverter,
    SinglePairConductanceConverter,
)
from .models import (
    BaseNoiseModel,
    CustomDriftPCMLikeNoiseModel,
    HermesNoiseModel,
    PCMLikeNoiseModel,
    PowerLawNoiseModel,
    ReRamCMONoiseModel,
    ReRamWan2022NoiseModel,
    StateIndependentNoiseModel,
)
from .programming import ProgrammedArray, program
from .rng import Generator, Native, Philox

__version__ = "0.1.0"

__all__ = [
    "AgingCurve",
    "BaseConductanceConverter",
    "BaseDriftCompensation",
    "BaseNoiseModel",
    "CompensatedRead",
    "ConfidenceInterval",
    "ConversionParameters",
    "CustomDriftPCMLikeNoiseModel",
    "CustomPairConductanceConverter",
    "DualPairConductanceConverter",
    "Generator",
    "GlobalDriftCompensation",
    "GlobalDriftCompensationWithExactReference",
    "HermesNoiseModel",
    "NPairConductanceConverter",
    "Native",
    "PCMLikeNoiseModel",
    "PerColumnDriftCompensation",
    "Philox",
    "PowerLawNoiseModel",
    "ProgrammedArray",
    "ReRamCMONoiseModel",
    "ReRamWan2022NoiseModel",
    "SingleDeviceConductanceConverter",
    "SinglePairConductanceConverter",
    "StateIndependentNoiseModel",
    "aging_curve",
    "confidence_interval",
    "program",
    "read_compensated",
    "scale_outputs",
]
