"""Enumerations of the configuration; the value is the usual spelling of the field."""

from __future__ import annotations

import enum


class IndexedEnum(enum.Enum):
    """An enumeration whose members also have a position, the integer that the C++ core sees."""

    @property
    def index(self) -> int:
        return list(type(self)).index(self)


class PulseType(IndexedEnum):
    """How a requested weight change becomes pulses."""

    NONE = "None"
    STOCHASTIC_COMPRESSED = "StochasticCompressed"
    STOCHASTIC = "Stochastic"
    NONE_WITH_DEVICE = "NoneWithDevice"
    MEAN_COUNT = "MeanCount"
    DETERMINISTIC_IMPLICIT = "DeterministicImplicit"
    MEAN_FIELD = "MeanField"


class CycleNoiseType(IndexedEnum):
    """How the cycle-to-cycle noise of the pulses of one update is drawn.

    ``PER_PULSE``: for every pulse, in order.

    ``PER_UPDATE``: once, from mean and variance that are propagated pulse by pulse. Exact moments of linear steps and
    soft bounds, linearised ones of exponential steps; other devices draw for every pulse.

    ``CLOSED_FORM``: once, from mean and variance that follow from the numbers of up and down pulses and from how many
    of their pairs are in which order, pairs within 32 slots counted as half. For up to 40 pulses with steps of at most
    a 60th of the bounds the mean is right to 0.1 standard deviations and the standard deviation to 2 %, beside half of
    the pairs within 32 slots times what swapping a pair changes. All devices but tables.

    Cells that could come near a bound take their pulses one by one.
    """

    PER_PULSE = "PerPulse"
    PER_UPDATE = "PerUpdate"
    CLOSED_FORM = "ClosedForm"


class NoiseManagementType(IndexedEnum):
    """How one input vector is scaled before the DAC."""

    NONE = "None"
    ABS_MAX = "AbsMax"
    ABS_MAX_NP_SUM = "AbsMaxNPSum"
    MAX = "Max"
    CONSTANT = "Constant"
    AVERAGE_ABS_MAX = "AverageAbsMax"


class BoundManagementType(IndexedEnum):
    """What happens when an output reaches the bound of the ADC."""

    NONE = "None"
    ITERATIVE = "Iterative"
    ITERATIVE_WORST_CASE = "IterativeWorstCase"
    SHIFT = "Shift"


class WeightNoiseType(IndexedEnum):
    """Which read noise the weights show in a matrix-vector product."""

    NONE = "None"
    ADDITIVE_CONSTANT = "AdditiveConstant"
    PCM_READ = "PCMRead"


class AnalogMVType(IndexedEnum):
    """How the matrix-vector product is carried out on the crossbar."""

    IDEAL = "Ideal"
    ONE_PASS = "OnePass"
    POS_NEG_SEPARATE = "PosNegSeparate"
    POS_NEG_SEPARATE_DIGITAL_SUM = "PosNegSeparateDigitalSum"
    SPLIT_MODE = "SplitMode"
    BIT_WISE = "BitWise"


class VectorUnitCellUpdatePolicy(IndexedEnum):
    """Which devices of a vector cell an update pulses."""

    ALL = "All"
    SINGLE_FIXED = "SingleFixed"
    SINGLE_SEQUENTIAL = "SingleSequential"
    SINGLE_RANDOM = "SingleRandom"


class WeightModifierType(IndexedEnum):
    """How the weights that hardware-aware training computes with differ from the stored ones."""

    NONE = "None"
    DISCRETIZE = "Discretize"
    MULT_NORMAL = "MultNormal"
    ADD_NORMAL = "AddNormal"
    DISCRETIZE_ADD_NORMAL = "DiscretizeAddNormal"
    DOREFA = "DoReFa"
    POLY = "Poly"
    PCM_NOISE = "PCMNoise"
    PROG_NOISE = "ProgNoise"
    DROP_CONNECT = "DropConnect"
    COPY = "Copy"


class WeightClipType(IndexedEnum):
    """To what weights are clipped."""

    NONE = "None"
    FIXED_VALUE = "FixedValue"
    LAYER_GAUSSIAN = "LayerGaussian"
    AVERAGE_CHANNEL_MAX = "AverageChannelMax"


class WeightRemapType(IndexedEnum):
    """What is rescaled to the range of the devices: the whole matrix, or each output."""

    NONE = "None"
    LAYERWISE_SYMMETRIC = "LayerwiseSymmetric"
    CHANNELWISE_SYMMETRIC = "ChannelwiseSymmetric"


class RPUDataType(IndexedEnum):
    """Data type at the edge of a tile; the state is always float32."""

    FLOAT = "float"
    DOUBLE = "double"
    HALF = "half"
