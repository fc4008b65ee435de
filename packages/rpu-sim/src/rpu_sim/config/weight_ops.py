"""Parameters of the operations on a weight matrix during hardware-aware training: modify, clip, remap."""

from __future__ import annotations

import math
from dataclasses import dataclass

from .base import ConfigBase, param, require
from .enums import WeightClipType, WeightModifierType, WeightRemapType

# Programming noise of phase-change memory in uS over |g| / g_max, for g_max = 25 uS (Nandakumar et al. 2019,
# doi:10.3389/fnins.2019.00406; Joshi et al. 2020, doi:10.1038/s41467-020-16108-9).
PCM_NOISE = (0.26348, 1.9650, -1.1731)
PCM_G_MAX = 25.0
PCM_T_READ = 250e-9  # width of a read pulse in s


@dataclass
class WeightModifierParameter(ConfigBase):
    """The noisy copy of the weights that hardware-aware training computes with.

    ``A`` is the largest absolute weight of the matrix (``rel_to_actual_wmax``) or ``assumed_wmax``.
    """

    type: WeightModifierType = param(WeightModifierType.NONE, "How the copy differs from the weights.")
    std_dev: float = param(0.0, "Strength of the noise: relative to A, to the weight, or a factor on a noise model.")
    per_batch_sample: bool = param(False, "One noisy copy per sample of a batch instead of one for all.")
    res: float = param(
        0.0, "Resolution as a fraction of the full range (2 A, or 2 dorefa_clip); above 1 a number of steps; 0 is off."
    )
    sto_round: bool = param(False, "Round stochastically.")
    dorefa_clip: float = param(0.6, "Largest weight after the tanh of DOREFA.", unit="weight")
    pdrop: float = param(0.0, "Probability that a weight of the copy is 0, after any other modification.")
    enable_during_test: bool = param(False, "Modify the weights in evaluation as well.")
    rel_to_actual_wmax: bool = param(True, "Take A from the matrix instead of ``assumed_wmax``.")
    assumed_wmax: float = param(1.0, "A when it is not taken from the matrix.", unit="weight")
    copy_last_column: bool = param(False, "Leave the last column (an analog bias) as it is, and out of A.")
    coeffs: tuple[float, ...] = param(
        (),
        "Polynomial of the noise in |w| / A, constant first: relative to A for POLY, in uS for PROG_NOISE; "
        "empty takes the measured polynomial of phase-change memory.",
    )
    g_max: float = param(25.0, "Conductance of A; the unit of ``coeffs`` of PROG_NOISE.", unit="uS")
    pcm_zero_thres: float = param(0.0, "PCM_NOISE leaves weights up to this many noise levels of a zero weight at 0.")
    pcm_t_inference: float = param(0.0, "Time between the first read after programming and the use.", unit="s")
    pcm_prob_at_reset: float = param(0.0, "Probability that PCM_NOISE finds both devices of a pair at zero.")
    pcm_prob_at_gmax: float = param(0.0, "Probability that PCM_NOISE finds one device of a pair at its maximum.")
    pcm_prob_at_random: float = param(0.0, "Probability that PCM_NOISE replaces the magnitude by a uniform one.")
    pcm_t0: float = param(20.0, "Time of the first read after programming.", unit="s")

    def check(self) -> None:
        super().check()
        for name in ("std_dev", "pcm_zero_thres", "pcm_t_inference"):
            require(0.0 <= getattr(self, name) < math.inf, self, f"{name} must be finite and not negative")
        for name in ("dorefa_clip", "assumed_wmax", "g_max"):
            require(1e-30 < getattr(self, name) < 1e30, self, f"{name} must be positive, between 1e-30 and 1e30")
        for name in ("pdrop", "pcm_prob_at_reset", "pcm_prob_at_gmax", "pcm_prob_at_random"):
            require(0.0 <= getattr(self, name) <= 1.0, self, f"{name} is a probability and must lie in 0..1")
        require(1e-6 <= self.pcm_t0 < math.inf, self, "pcm_t0 must be finite and at least 1e-6 s")
        require(
            self.res <= 0.0 or 2.0**-24 <= self.res <= 2.0**24,
            self,
            "res is finer than float32 can tell apart; use at most 2**24 steps, or 0 for none",
        )
        require(all(math.isfinite(c) for c in self.coeffs), self, "coeffs must be finite")

    @property
    def noise_polynomial(self) -> list[float]:
        """Standard deviation of the noise of POLY, PROG_NOISE and PCM_NOISE over |w| / A, in units of A."""
        if self.type is WeightModifierType.PCM_NOISE or not self.coeffs:
            return [self.std_dev * c / PCM_G_MAX for c in PCM_NOISE]
        unit = self.g_max if self.type is WeightModifierType.PROG_NOISE else 1.0
        return [self.std_dev * c / unit for c in self.coeffs]

    @property
    def log_drift_time(self) -> float:
        """ln(t / t_0) of PCM_NOISE."""
        return math.log1p(self.pcm_t_inference / self.pcm_t0)

    @property
    def read_noise(self) -> float:
        """``std_dev`` times the growth of the 1/f noise of PCM_NOISE until the use."""
        time = self.pcm_t_inference + self.pcm_t0
        return self.std_dev * math.sqrt(math.log((time + PCM_T_READ) / (2.0 * PCM_T_READ)))


@dataclass
class WeightClipParameter(ConfigBase):
    """The bound to which weights are clipped."""

    fixed_value: float = param(-1.0, "Bound of FIXED_VALUE, and an upper limit of the other bounds if positive.")
    sigma: float = param(2.5, "Bound of LAYER_GAUSSIAN in standard deviations of the weights.")
    type: WeightClipType = param(WeightClipType.NONE, "What the bound is.")

    def check(self) -> None:
        super().check()
        require(abs(self.fixed_value) < math.inf, self, "fixed_value must be finite")
        require(0.0 < self.sigma < math.inf, self, "sigma must be finite and positive")


@dataclass
class WeightRemapParameter(ConfigBase):
    """How weights are rescaled to use the range of the devices, with the inverse factor in the output scales."""

    remapped_wmax: float = param(1.0, "Largest absolute weight afterwards.", unit="weight")
    max_scale_range: float = param(0.0, "Largest ratio of a new scale to the smallest old one; 0 is unlimited.")
    max_scale_ref: float = param(0.0, "Lower limit of the smallest old scale in ``max_scale_range``.")
    type: WeightRemapType = param(WeightRemapType.NONE, "One factor for the matrix or one per output.")

    def check(self) -> None:
        super().check()
        require(0.0 < self.remapped_wmax < math.inf, self, "remapped_wmax must be finite and positive")
        for name in ("max_scale_range", "max_scale_ref"):
            require(0.0 <= getattr(self, name) < math.inf, self, f"{name} must be finite and not negative")
        require(
            self.max_scale_range == 0.0 or self.remapped_wmax == 1.0,
            self,
            "max_scale_range needs remapped_wmax = 1; set one of them to its default",
        )
