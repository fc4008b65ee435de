"""Enumerations of the configuration; the integer order is what the C++ core sees, the value is the field's usual spelling."""

from __future__ import annotations

import enum


class PulseType(enum.Enum):
    """How a requested weight change becomes pulses."""

    NONE = "None"
    STOCHASTIC_COMPRESSED = "StochasticCompressed"
    STOCHASTIC = "Stochastic"
    NONE_WITH_DEVICE = "NoneWithDevice"
    MEAN_COUNT = "MeanCount"
    DETERMINISTIC_IMPLICIT = "DeterministicImplicit"


class NoiseManagementType(enum.Enum):
    """How one input vector is scaled before the DAC."""

    NONE = "None"
    ABS_MAX = "AbsMax"
    ABS_MAX_NP_SUM = "AbsMaxNPSum"
    MAX = "Max"
    CONSTANT = "Constant"
    AVERAGE_ABS_MAX = "AverageAbsMax"


class BoundManagementType(enum.Enum):
    """What happens when an output reaches the bound of the ADC."""

    NONE = "None"
    ITERATIVE = "Iterative"
    ITERATIVE_WORST_CASE = "IterativeWorstCase"
    SHIFT = "Shift"


class WeightNoiseType(enum.Enum):
    """Which read noise the weights show in a matrix-vector product."""

    NONE = "None"
    ADDITIVE_CONSTANT = "AdditiveConstant"
    PCM_READ = "PCMRead"


class AnalogMVType(enum.Enum):
    """How the matrix-vector product is carried out on the crossbar."""

    IDEAL = "Ideal"
    ONE_PASS = "OnePass"
    POS_NEG_SEPARATE = "PosNegSeparate"
    POS_NEG_SEPARATE_DIGITAL_SUM = "PosNegSeparateDigitalSum"
    SPLIT_MODE = "SplitMode"
    BIT_WISE = "BitWise"


class RPUDataType(enum.Enum):
    """Data type at the edge of a tile; the state is always float32."""

    FLOAT = "float"
    DOUBLE = "double"
    HALF = "half"
