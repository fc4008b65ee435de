"""Parameters of the analog matrix-vector product (forward and backward)."""

from __future__ import annotations

from dataclasses import dataclass

from .base import ConfigBase, param, require
from .enums import AnalogMVType, BoundManagementType, NoiseManagementType, WeightNoiseType


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

    def check(self) -> None:
        super().check()
        require(0.0 < self.out_scale < float("inf"), self, "out_scale must be positive and finite")
        if self.is_perfect:
            return
        for name in ("inp_noise", "out_noise", "out_noise_std", "nm_thres", "max_bm_res"):
            require(0.0 <= getattr(self, name) < float("inf"), self, f"{name} must be finite and not negative")
        for name in ("inp_res", "out_res", "inp_asymmetry", "out_asymmetry"):
            require(abs(getattr(self, name)) < float("inf"), self, f"{name} must be finite")
        require(
            self.noise_management is NoiseManagementType.NONE or self.inp_bound == 1.0,
            self,
            "noise management scales inputs to 1, so inp_bound must be 1 (or set noise_management to NONE)",
        )
        self._check_available()
        require(self.max_bm_factor >= 1, self, "max_bm_factor must be at least 1")

    def _check_available(self) -> None:
        """Refuse what this version does not simulate."""
        types = (AnalogMVType.IDEAL, AnalogMVType.ONE_PASS)
        known = " or ".join(t.name for t in types)
        require(self.mv_type in types, self, f"mv_type {self.mv_type.name} is not available; use {known}")
        require(
            self.bound_management is not BoundManagementType.SHIFT,
            self,
            "bound_management SHIFT is not available; use ITERATIVE, ITERATIVE_WORST_CASE or NONE",
        )
        for name in ("w_noise", "ir_drop", "out_nonlinearity", "v_offset_std", "r_series", "w_read_asymmetry_dtod"):
            active = name != "w_noise" or self.w_noise_type is not WeightNoiseType.NONE
            require(
                not active or getattr(self, name) == 0.0, self, f"{name} is not available in this version; set it to 0"
            )
