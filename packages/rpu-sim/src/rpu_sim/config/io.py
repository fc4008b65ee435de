"""Parameters of the analog matrix-vector product (forward and backward)."""

from __future__ import annotations

import math
from dataclasses import dataclass

from .base import ConfigBase, param, require
from .enums import AnalogMVType, BoundManagementType, NoiseManagementType, WeightNoiseType

LARGEST = 1e9  # of any parameter: squares and products of a few stay finite in float32
SMALLEST = 1e-9
MOST_BITS = 16  # passes of a product
_STRENGTHS = (
    "inp_noise", "out_noise", "out_noise_std", "nm_thres", "max_bm_res", "w_noise", "ir_drop", "ir_drop_g_ratio",
    "out_nonlinearity", "out_nonlinearity_std", "slope_calibration", "v_offset_std", "r_series",
    "w_read_asymmetry_dtod",
)  # fmt: skip


@dataclass
class IOParameters(ConfigBase):
    """The signal chain of one matrix-vector product: DAC, crossbar, ADC and the digital scaling around them.

    Resolutions are fractions of the full range ``2 * bound``; a value above 1 is read as a number of steps and
    inverted; 0 or less switches the quantiser off.
    """

    is_perfect: bool = param(False, "Plain floating-point product times ``out_scale``; every other field is ignored.")
    mv_type: AnalogMVType = param(AnalogMVType.ONE_PASS, "How the product is carried out.")
    inp_bound: float = param(1.0, "Symmetric clip of the DAC; 0 or less means no bound.", unit="scaled input")
    inp_noise: float = param(0.0, "Standard deviation of the noise added after the DAC.", unit="scaled input")
    inp_res: float = param(1 / (2**7 - 2), "Resolution of the DAC; the default gives 127 levels (7 bit).")
    inp_sto_round: bool = param(False, "Round stochastically in the DAC.")
    inp_asymmetry: float = param(0.0, "Negative inputs are multiplied by ``1 - inp_asymmetry``.")
    out_bound: float = param(12.0, "Symmetric clip of the ADC; 0 or less means no bound.", unit="weight * scaled input")
    out_noise: float = param(0.06, "Standard deviation of the noise before the ADC.", unit="weight * scaled input")
    out_noise_std: float = param(0.0, "Relative spread of ``out_noise`` over the outputs, drawn once per tile.")
    out_res: float = param(1 / (2**9 - 2), "Resolution of the ADC; the default gives 511 levels (9 bit).")
    out_sto_round: bool = param(False, "Round stochastically in the ADC.")
    out_scale: float = param(1.0, "Digital factor on the result.")
    out_asymmetry: float = param(0.0, "Negative outputs are multiplied by ``1 - out_asymmetry`` before the noise.")
    bound_management: BoundManagementType = param(
        BoundManagementType.ITERATIVE, "Repeat with halved inputs until no output is clipped (forward only)."
    )
    noise_management: NoiseManagementType = param(
        NoiseManagementType.ABS_MAX, "Scale of an input vector before the DAC, undone after the ADC."
    )
    w_noise: float = param(0.0, "Strength of the weight read noise.")
    w_noise_type: WeightNoiseType = param(WeightNoiseType.NONE, "Law of the weight read noise.")
    ir_drop: float = param(0.0, "Strength of the IR drop along a column; 1 is physical.")
    ir_drop_g_ratio: float = param(1.0 / 0.35 / 5e-6, "Wire conductance over the largest device conductance.")
    out_nonlinearity: float = param(0.0, "Strength of the saturating output nonlinearity.")
    out_nonlinearity_std: float = param(0.0, "Relative spread of the nonlinearity over the outputs, drawn once.")
    slope_calibration: float = param(0.0, "Fraction of ``out_bound`` at which the mean slope is restored to 1.")
    v_offset_std: float = param(0.0, "Standard deviation of the voltage offset of an output, drawn once.")
    v_offset_w_min: float = param(-1.0, "Weight of the reference device that offset and series resistance act on.")
    r_series: float = param(0.0, "Series resistance coefficient.")
    w_read_asymmetry_dtod: float = param(0.0, "Device-to-device spread of the weight read with negative inputs.")
    max_bm_factor: int = param(1000, "Largest reduction tried by bound management.")
    max_bm_res: float = param(0.25, "Bound management stops when the reduction exceeds this over the DAC step.")
    bm_test_negative_bound: bool = param(True, "Whether a clip at the negative bound also causes a repetition.")
    nm_thres: float = param(0.0, "Upper limit of the noise-management scale, or its value for ``CONSTANT``.")

    split_mode_bit_shift: int = param(3, "Bits of an input that ``SPLIT_MODE`` sends in the first of its two passes.")

    def check(self) -> None:
        super().check()
        require(0.0 < self.out_scale <= LARGEST, self, f"out_scale must lie in 0..{LARGEST:g}")
        if self.is_perfect:
            return
        self._check_ranges()
        self._check_combinations()
        if self.mv_type in (AnalogMVType.SPLIT_MODE, AnalogMVType.BIT_WISE):
            self._check_code_bits()

    def _check_ranges(self) -> None:
        for name in _STRENGTHS:
            require(0.0 <= getattr(self, name) <= LARGEST, self, f"{name} must lie in 0..{LARGEST:g}")
        for name in ("inp_res", "out_res", "inp_asymmetry", "out_asymmetry", "v_offset_w_min"):
            require(abs(getattr(self, name)) <= LARGEST, self, f"{name} must be finite, at most {LARGEST:g}")
        for name in ("inp_bound", "out_bound"):
            value = getattr(self, name)
            require(value <= 0.0 or value == math.inf or SMALLEST <= value <= LARGEST, self,
                    f"{name} must lie in {SMALLEST:g}..{LARGEST:g}; 0 or less means no bound")  # fmt: skip
        for name in ("inp_res", "out_res"):
            value = getattr(self, name)
            require(value <= 0.0 or value >= SMALLEST, self, f"{name} must be at least {SMALLEST:g}, or 0 for off")
        require(self.ir_drop_g_ratio >= 1e-3, self, "ir_drop_g_ratio must be at least 0.001")
        require(1 <= self.max_bm_factor < 2**31, self, "max_bm_factor must lie in 1..2147483647")

    def _check_combinations(self) -> None:
        """Refuse what has no meaning, so that nothing is ignored."""
        require(
            self.noise_management is NoiseManagementType.NONE or self.inp_bound == 1.0,
            self,
            "noise management scales inputs to 1, so inp_bound must be 1 (or set noise_management to NONE)",
        )
        require(
            self.bound_management is not BoundManagementType.SHIFT,
            self,
            "bound_management SHIFT has no definition; use ITERATIVE, ITERATIVE_WORST_CASE or NONE",
        )
        require(
            self.w_noise == 0.0 or self.w_noise_type is not WeightNoiseType.NONE,
            self,
            "w_noise needs a law; set w_noise_type to ADDITIVE_CONSTANT or PCM_READ",
        )
        require(
            self.w_read_asymmetry_dtod == 0.0
            or self.mv_type in (AnalogMVType.POS_NEG_SEPARATE, AnalogMVType.POS_NEG_SEPARATE_DIGITAL_SUM),
            self,
            "w_read_asymmetry_dtod acts on negative inputs read apart; set mv_type to POS_NEG_SEPARATE",
        )

    def _check_code_bits(self) -> None:
        name, bits = self.mv_type.name, self.code_bits()
        require(0 < bits <= MOST_BITS, self, f"{name} needs codes of 1 to {MOST_BITS} bits from inp_res and inp_bound")
        if self.mv_type is AnalogMVType.SPLIT_MODE:
            shift = self.split_mode_bit_shift
            require(0 < shift < bits, self, f"split_mode_bit_shift must lie in 1..{bits - 1} for codes of {bits} bits")

    def code_bits(self) -> int:
        """Bits of the largest code of the DAC, without the sign; 0 without a grid."""
        if self.inp_res <= 0.0 or self.inp_bound <= 0.0 or math.isinf(self.inp_bound):
            return 0
        steps = self.inp_res if self.inp_res > 1.0 else 1.0 / self.inp_res
        return round(steps / 2.0).bit_length()


@dataclass
class IOParametersIRDropT(IOParameters):
    """Signal chain whose inputs are pulses of different length, with the IR drop along the wires at each moment.

    Each weight is a pair of conductances, and a column of the array is a ladder of ``ir_drop_segments`` resistive
    segments that carries the current of the inputs that are still on. The pulses need a grid, so ``inp_res`` must be
    on. The simple column model (``ir_drop_g_ratio``) is replaced.
    """

    ir_drop: float = param(1.0, "Factor on the resistance of the wire; 1 is physical.")
    ir_drop_rs: float = param(0.15, "Resistance of the wire between two inputs.", unit="Ohm")
    ir_drop_segments: int = param(8, "Segments of the ladder that stands for a column.")
    ir_drop_time_step_resolution_scale: float = param(1.0, "Points in time per level of the DAC.")
    ir_drop_v_read: float = param(0.4005, "Voltage of the ADC; inputs are read at 0.2, 0.4 and 0.6 V.", unit="V")
    ir_drop_g_max: float = param(25.0, "Conductance of the largest weight of the tile.", unit="uS")
    ir_drop_g_min: float = param(0.0, "Conductance of a device that is off.", unit="uS")
    ir_drop_integration_sum: bool = param(True, "Sum the currents over time; otherwise the trapezoid rule.")
    adc_quantization: bool = param(True, "Count charge in whole units, rounded towards zero.")
    adc_frequency: float = param(6.24, "Counts per 100 uA and step of time.")
    apply_xdep_pcm_read_noise: bool = param(False, "Read noise of phase-change devices that depends on the pulses.")
    xdep_pcm_read_noise_scale: float = param(1.0, "Factor on that noise.")

    def check(self) -> None:
        super().check()
        if self.is_perfect:
            return
        for name in ("ir_drop_rs", "ir_drop_v_read", "ir_drop_g_min", "xdep_pcm_read_noise_scale"):
            require(0.0 <= getattr(self, name) <= LARGEST, self, f"{name} must lie in 0..{LARGEST:g}")
        for name in ("ir_drop_g_max", "adc_frequency"):
            require(SMALLEST <= getattr(self, name) <= LARGEST, self, f"{name} must lie in {SMALLEST:g}..{LARGEST:g}")
        require(self.ir_drop_g_min < self.ir_drop_g_max, self, "ir_drop_g_min must be below ir_drop_g_max")
        require(1 <= self.ir_drop_segments <= 4096, self, "ir_drop_segments must lie in 1..4096")
        scale = self.ir_drop_time_step_resolution_scale
        require(0.01 <= scale <= 100.0, self, "ir_drop_time_step_resolution_scale must lie in 0.01..100")
        require(0 < self.code_bits() <= MOST_BITS, self, f"pulses need codes of 1 to {MOST_BITS} bits from inp_res")
        require(
            self.mv_type in (AnalogMVType.ONE_PASS, AnalogMVType.SPLIT_MODE, AnalogMVType.BIT_WISE),
            self,
            "inputs of both signs are read at once; set mv_type to ONE_PASS, SPLIT_MODE or BIT_WISE",
        )
        require(
            self.ir_drop_g_ratio == IOParameters().ir_drop_g_ratio,
            self,
            "ir_drop_g_ratio belongs to the simple model; use ir_drop_rs",
        )
