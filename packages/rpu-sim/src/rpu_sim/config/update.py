"""Parameters of the pulsed update."""

from __future__ import annotations

from dataclasses import dataclass

from .base import ConfigBase, param, require
from .enums import CycleNoiseType, PulseType


@dataclass
class UpdateParameters(ConfigBase):
    """How a requested change ``-lr d x^T`` becomes pulses on the crossbar."""

    desired_bl: int = param(31, "Length of a pulse train; its maximum under update-BL management.", unit="slots")
    fixed_bl: bool = param(True, "Always use ``desired_bl`` slots (without update-BL management).")
    pulse_type: PulseType = param(PulseType.STOCHASTIC_COMPRESSED, "Kind of pulse trains.")
    res: float = param(0.0, "Resolution of a pulse probability; above 1 it is a number of steps; 0 is off.")
    x_res_implicit: float = param(0.0, "Resolution of x for ``DETERMINISTIC_IMPLICIT``.")
    d_res_implicit: float = param(0.0, "Resolution of d for ``DETERMINISTIC_IMPLICIT``.")
    d_sparsity: bool = param(False, "Kept for existing scripts: no device uses the fraction of zeros in d.")
    sto_round: bool = param(False, "Round probabilities stochastically when a resolution is set.")
    update_bl_management: bool = param(True, "Shorten the train of each sample to what its update needs.")
    update_management: bool = param(True, "Balance the pulse probabilities of x and d.")
    noise: CycleNoiseType = param(
        CycleNoiseType.PER_PULSE,
        "Draw cycle noise for every pulse, or once from mean and variance: of pulses in order, or in closed form.",
    )
    um_grad_scale: float = param(1.0, "Factor on the largest ``|d|`` used by the balance.")

    def check(self) -> None:
        super().check()
        require(1 <= self.desired_bl <= 8192, self, "desired_bl must lie in 1..8192")
        require(0.0 < self.um_grad_scale < float("inf"), self, "um_grad_scale must be positive and finite")
