"""Statistical inference of weights in PCM and ReRAM crossbars, on any library of the Python array-API standard."""

from __future__ import annotations

from .activation_noise import apply_activation_dependent_read_noise
from .calibration import InputRangeCalibrationType, RangeEstimator, range_estimator
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
    FusionConductanceConverter,
    FusionParameters,
    NPairConductanceConverter,
    SingleDeviceConductanceConverter,
    SinglePairConductanceConverter,
    WeightedPairs,
)
from .models import (
    BaseNoiseModel,
    CustomDriftPCMLikeNoiseModel,
    FittedPCMNoiseModel,
    HermesNoiseModel,
    PCMLikeNoiseModel,
    PCMWeightNoiseModel,
    PowerLawNoiseModel,
    ReRamCMONoiseModel,
    ReRamWan2022NoiseModel,
    StateIndependentNoiseModel,
)
from .optimize import ProgrammingResult, optimize_programming
from .programming import ProgrammedArray, program
from .range_statistics import MagnitudeHistogram, RangeStatistics
from .read_noise import product_read_noise
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
    "FittedPCMNoiseModel",
    "FusionConductanceConverter",
    "FusionParameters",
    "Generator",
    "GlobalDriftCompensation",
    "GlobalDriftCompensationWithExactReference",
    "HermesNoiseModel",
    "InputRangeCalibrationType",
    "MagnitudeHistogram",
    "NPairConductanceConverter",
    "Native",
    "PCMLikeNoiseModel",
    "PCMWeightNoiseModel",
    "PerColumnDriftCompensation",
    "Philox",
    "PowerLawNoiseModel",
    "ProgrammedArray",
    "ProgrammingResult",
    "RangeEstimator",
    "RangeStatistics",
    "ReRamCMONoiseModel",
    "ReRamWan2022NoiseModel",
    "SingleDeviceConductanceConverter",
    "SinglePairConductanceConverter",
    "StateIndependentNoiseModel",
    "WeightedPairs",
    "aging_curve",
    "apply_activation_dependent_read_noise",
    "confidence_interval",
    "optimize_programming",
    "product_read_noise",
    "program",
    "range_estimator",
    "read_compensated",
    "scale_outputs",
]
