"""Devices at a crosspoint: what one pulse does to a weight, and how devices differ from each other.

All weights, bounds and steps are dimensionless normalised conductances.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

from .base import ConfigBase, param, require


@dataclass
class SimpleDriftParameter(ConfigBase):
    """Power-law drift of the weights."""

    nu: float = param(0.0, "Drift exponent; 0 switches drift off.")
    t_0: float = param(1.0, "Unit of time.", unit="s")
    reset_tol: float = param(1e-7, "A weight that moved by more counts as newly written.", unit="weight")

    def check(self) -> None:
        super().check()
        require(0.0 <= self.nu < math.inf, self, "nu must be finite and not negative")
        require(0.0 < self.t_0 < math.inf, self, "t_0 must be positive and finite")
        require(0.0 <= self.reset_tol < math.inf, self, "reset_tol must be finite and not negative")


@dataclass
class DriftParameter(SimpleDriftParameter):
    """Power-law drift with variation between devices and over time."""

    nu_dtod: float = param(0.0, "Relative device-to-device spread of ``nu``.")
    nu_std: float = param(0.0, "Relative spread of ``nu`` from call to call.")
    wg_ratio: float = param(1.0, "Weight per conductance.")
    g_offset: float = param(0.0, "Conductance of a zero weight.")
    w_offset: float = param(0.0, "Weight of a zero conductance.")
    nu_k: float = param(0.0, "Dependence of ``nu`` on the logarithm of the conductance.")
    log_g0: float = param(0.0, "Logarithm of the reference conductance of ``nu_k``.")
    w_noise_std: float = param(0.0, "Read noise added at each drift call.", unit="weight")

    def check(self) -> None:
        super().check()
        for name in ("nu_dtod", "nu_std", "w_noise_std"):
            require(0.0 <= getattr(self, name) < math.inf, self, f"{name} must be finite and not negative")
        for name in ("g_offset", "w_offset", "nu_k", "log_g0"):
            require(abs(getattr(self, name)) < math.inf, self, f"{name} must be finite")
        require(0.0 < abs(self.wg_ratio) < math.inf, self, "wg_ratio must be finite and not 0")
        unused = [name for name in ("nu_dtod", "nu_std", "nu_k", "w_noise_std") if getattr(self, name) != 0.0]
        require(self.nu > 0.0 or not unused, self, f"{', '.join(unused)} act only with nu > 0; set nu too")


def _check_lifetime(device: ConfigBase, lifetime: float) -> None:
    # 0 < lifetime <= 1 means 'jump to the reset value' for some devices of the field and 'off' for others: refuse it.
    require(
        lifetime == 0.0 or 1.0 < lifetime < math.inf,
        device,
        "lifetime must be 0 (no decay) or above 1 call",
    )


@dataclass
class FloatingPointDevice(ConfigBase):
    """No device: exact floating-point weights."""

    diffusion: float = param(0.0, "Standard deviation added to a weight per call.", unit="weight")
    lifetime: float = param(0.0, "Weights shrink by ``1 - 1/lifetime`` per call; 0 is off.", unit="calls")
    drift: SimpleDriftParameter = param(SimpleDriftParameter, "Drift of the weights.")

    def check(self) -> None:
        super().check()
        require(0.0 <= self.diffusion < math.inf, self, "diffusion must be finite and not negative")
        _check_lifetime(self, self.lifetime)


@dataclass
class IdealDevice(ConfigBase):
    """Exact floating-point update below an analog forward and backward pass."""

    construction_seed: int = param(0, "Seed of the device draw; 0 takes the seed of the tile.")
    diffusion: float = param(0.0, "Standard deviation added to a weight per call.", unit="weight")
    lifetime: float = param(0.0, "Weights shrink by ``1 - 1/lifetime`` per call; 0 is off.", unit="calls")
    reset_std: float = param(0.01, "Spread of a weight after a reset.", unit="weight")
    drift: SimpleDriftParameter = param(SimpleDriftParameter, "Drift of the weights.")

    def check(self) -> None:
        super().check()
        finite = 0.0 <= self.diffusion < math.inf and 0.0 <= self.reset_std < math.inf
        require(finite, self, "diffusion and reset_std must be finite and not negative")
        _check_lifetime(self, self.lifetime)


@dataclass
class PulsedDevice(ConfigBase):
    """What all pulsed devices share: bounds, step sizes, their spread, and the slow processes between updates."""

    construction_seed: int = param(0, "Seed of the device draw; 0 takes the seed of the tile.")
    corrupt_devices_prob: float = param(0.0, "Probability that a device is stuck.")
    corrupt_devices_range: float = param(0.1, "A stuck value lies in plus or minus this range.", unit="weight")
    diffusion: float = param(0.0, "Standard deviation added to a weight per call.", unit="weight")
    diffusion_dtod: float = param(0.0, "Relative device-to-device spread of ``diffusion``.")
    drift: DriftParameter = param(DriftParameter, "Drift of the weights.")
    dw_min: float = param(0.001, "Mean step of one pulse at weight 0.", unit="weight")
    dw_min_dtod: float = param(0.3, "Relative device-to-device spread of the step.")
    dw_min_dtod_log_normal: bool = param(False, "Draw the spread of the step from a log-normal law.")
    dw_min_dtod_mean_preserving: bool = param(
        False, "``dw_min`` is the mean of log-normal steps; False: their median, which is smaller."
    )
    dw_min_std: float = param(0.3, "Relative cycle-to-cycle spread of one step.")
    enforce_consistency: bool = param(True, "Keep steps positive and bounds in order.")
    lifetime: float = param(0.0, "Distance to ``reset`` shrinks by ``1 - 1/lifetime`` a call; 0: off.", unit="calls")
    lifetime_dtod: float = param(0.0, "Relative device-to-device spread of ``lifetime``.")
    perfect_bias: bool = param(False, "The devices of the last column have nominal steps and wide bounds.")
    reset: float = param(0.0, "Value after a reset, and target of the decay.", unit="weight")
    reset_dtod: float = param(0.0, "Device-to-device spread of the reset value (absolute).", unit="weight")
    reset_std: float = param(0.01, "Cycle-to-cycle spread of a reset.", unit="weight")
    up_down: float = param(0.0, "Asymmetry: a positive value shrinks the down step, a negative one the up step.")
    up_down_dtod: float = param(0.01, "Device-to-device spread of the asymmetry, relative to ``dw_min``.")
    w_max: float = param(0.6, "Mean upper bound.", unit="weight")
    w_max_dtod: float = param(0.3, "Relative device-to-device spread of the upper bound.")
    w_min: float = param(-0.6, "Mean lower bound.", unit="weight")
    w_min_dtod: float = param(0.3, "Relative device-to-device spread of the lower bound.")
    count_pulses: bool = param(False, "Count the pulses of every crosspoint.")

    def resolved(self) -> PulsedDevice:
        """The device that the core simulates; another one where a class only describes it differently."""
        return self

    def check(self) -> None:
        super().check()
        require(self.w_min <= 0.0 <= self.w_max, self, "w_min <= 0 <= w_max must hold")
        require(self.w_max - self.w_min < math.inf, self, "w_min and w_max must be finite")
        require(0.0 < self.dw_min < math.inf, self, "dw_min must be positive and finite")
        require(0.0 <= self.corrupt_devices_prob <= 1.0, self, "corrupt_devices_prob must lie in 0..1")
        require(abs(self.up_down) < math.inf, self, "up_down must be finite")
        log_normal = self.dw_min_dtod_log_normal or not self.dw_min_dtod_mean_preserving
        require(log_normal, self, "dw_min_dtod_mean_preserving needs dw_min_dtod_log_normal=True")
        _check_lifetime(self, self.lifetime)
        spreads = [n for n in vars(self) if n.endswith(("_dtod", "_std"))]
        for name in [*spreads, "diffusion", "corrupt_devices_range"]:
            require(0.0 <= getattr(self, name) < math.inf, self, f"{name} must be finite and not negative")


@dataclass
class ConstantStepDevice(PulsedDevice):
    """The step does not depend on the state of the device."""


@dataclass
class WriteNoiseDevice(PulsedDevice):
    """Common fields of the devices that may show their weight with noise: each write draws it anew, none adds up."""

    write_noise_std: float = param(0.0, "Noise of the visible weight around the stored one.", unit="dw_min")
    apply_write_noise_on_set: bool = param(True, "Add write noise when weights are set.")


@dataclass
class AffineStepDevice(WriteNoiseDevice):
    """Common fields of the devices whose step is an affine function of the weight."""

    mult_noise: bool = param(True, "The cycle noise scales with the actual step instead of the step at 0.")
    reverse_up: bool = param(False, "The up step grows instead of shrinking.")
    reverse_down: bool = param(False, "The down step grows instead of shrinking.")
    reverse_offset: float = param(0.01, "Keeps a reversed step positive at the far bound.", unit="weight")

    def check(self) -> None:
        super().check()
        require(
            self.mult_noise or not (self.reverse_up or self.reverse_down),
            self,
            "reverse_up and reverse_down need mult_noise=True",
        )
        require(0.0 <= self.reverse_offset < math.inf, self, "reverse_offset must be finite and not negative")


@dataclass
class LinearStepDevice(AffineStepDevice):
    """The step changes linearly with the weight."""

    gamma_up: float = param(0.0, "Relative decrease of the up step at the upper bound.")
    gamma_down: float = param(0.0, "Relative decrease of the down step at the lower bound.")
    gamma_up_dtod: float = param(0.05, "Device-to-device spread of ``gamma_up`` (absolute).")
    gamma_down_dtod: float = param(0.05, "Device-to-device spread of ``gamma_down`` (absolute).")
    allow_increasing: bool = param(False, "Let a drawn gamma be negative (a step that grows).")
    mean_bound_reference: bool = param(True, "Refer gamma to the mean bounds instead of each device's own.")

    def check(self) -> None:
        super().check()
        require(abs(self.gamma_up) + abs(self.gamma_down) < math.inf, self, "gamma_up and gamma_down must be finite")


@dataclass
class SoftBoundsDevice(AffineStepDevice):
    """The step shrinks linearly to zero at the bound."""


@dataclass
class SoftBoundsPmaxDevice(SoftBoundsDevice):
    """Soft bounds described by a curve of ``p_max`` pulses from ``range_min`` towards ``range_max``.

    With B = (range_max - range_min) / (1 - exp(-p_max alpha)) it is a `SoftBoundsDevice` with ``w_min = range_min``,
    ``w_max = range_min + B``, ``dw_min = B alpha`` and ``up_down = 1 + 2 range_min / B``. Because ``up_down`` shrinks
    one direction only, ``p_max`` pulses end elsewhere than at ``range_max``; `SoftBoundsCurveDevice` meets both ends.
    """

    w_max: Any = param(None, "Follows from the curve; leave it at None.")
    w_min: Any = param(None, "Follows from the curve; leave it at None.")
    dw_min: Any = param(None, "Follows from the curve; leave it at None.")
    up_down: Any = param(None, "Follows from the curve; leave it at None.")
    p_max: int = param(1000, "Pulses of the curve.")
    alpha: float = param(0.0005, "Rate of the curve per pulse.")
    range_min: float = param(-1.0, "Weight at the start of the curve.", unit="weight")
    range_max: float = param(1.0, "Weight at the end of the curve.", unit="weight")

    def check(self) -> None:
        ConfigBase.check(self)  # the rules of the bounds hold for the resolved device
        given = [name for name in ("w_max", "w_min", "dw_min", "up_down") if getattr(self, name) is not None]
        require(not given, self, f"{', '.join(given)} follow from the curve; leave them at None")
        require(self.p_max > 0 and self.alpha > 0.0, self, "p_max and alpha must be positive")
        require(self.range_min < 0.0 < self.range_max, self, "range_min < 0 < range_max must hold")
        self.resolved().check()

    def resolved(self) -> SoftBoundsDevice:
        """The same device by its bounds and steps."""
        return self._with_bounds(
            w_min=self.range_min,
            w_max=self.range_min + self.extent,
            dw_min=self.extent * self.alpha,
            up_down=1.0 + 2.0 * self.range_min / self.extent,
        )

    @property
    def extent(self) -> float:
        """Distance B from the start of the curve to its asymptote."""
        return (self.range_max - self.range_min) / -math.expm1(-self.p_max * self.alpha)

    def _with_bounds(self, **bounds: float) -> SoftBoundsDevice:
        names = [f.name for f in fields(SoftBoundsDevice)]
        return SoftBoundsDevice(**{**{name: getattr(self, name) for name in names}, **bounds})


@dataclass
class SoftBoundsCurveDevice(SoftBoundsPmaxDevice):
    """Soft bounds that ``p_max`` pulses carry from ``range_min`` to ``range_max``, and as many back.

    It has ``w_max = range_min + B``, ``w_min = range_max - B`` and the steps ``alpha w_max`` up, ``-alpha w_min`` down.
    """

    def resolved(self) -> SoftBoundsDevice:
        w_max, w_min = self.range_min + self.extent, self.range_max - self.extent
        larger = max(w_max, -w_min)
        up_down = w_max / -w_min - 1.0 if w_max < -w_min else 1.0 + w_min / w_max
        return self._with_bounds(w_min=w_min, w_max=w_max, dw_min=self.alpha * larger, up_down=up_down)


@dataclass
class SoftBoundsReferenceDevice(WriteNoiseDevice):
    """Soft bounds seen from a reference device: the weight is the conductance minus the reference of the cell."""

    mult_noise: bool = param(False, "The cycle noise scales with the actual step instead of the step at 0.")
    slope_up_dtod: float = param(0.0, "Relative device-to-device spread of the slope of the up step.")
    slope_down_dtod: float = param(0.0, "Relative device-to-device spread of the slope of the down step.")
    reference_mean: float = param(0.0, "Mean of the reference.", unit="weight")
    reference_std: float = param(0.0, "Device-to-device spread of the reference.", unit="weight")
    subtract_symmetry_point: bool = param(False, "Add the symmetry point of each device to its reference.")

    def check(self) -> None:
        super().check()
        require(abs(self.reference_mean) < math.inf, self, "reference_mean must be finite")


@dataclass
class ExpStepDevice(WriteNoiseDevice):
    """The step depends exponentially on the weight, as fitted to ReRAM devices."""

    A_up: float = param(0.00081, "Amplitude of the exponential of up steps.")
    A_down: float = param(0.36833, "Amplitude of the exponential of down steps.")
    gamma_up: float = param(12.44625, "Exponent of up steps.")
    gamma_down: float = param(12.78785, "Exponent of down steps.")
    a: float = param(0.244, "Slope of the exponent's argument over the weight range.")
    b: float = param(0.2425, "Offset of the exponent's argument.")
    dw_min_std_add: float = param(0.0, "Additive part of the cycle noise, times ``dw_min_std``.", unit="weight")
    dw_min_std_slope: float = param(0.0, "Part of the cycle noise that grows with ``|w|``, times ``dw_min_std``.")

    def check(self) -> None:
        super().check()
        shape = (self.A_up, self.A_down, self.gamma_up, self.gamma_down, self.a, self.b)
        require(all(abs(v) < math.inf for v in shape), self, "A, gamma, a and b must be finite")


@dataclass
class PowerLawStepDevice(PulsedDevice):
    """Common fields of the devices whose step is a power of the distance to the bound."""

    pow_gamma: float = param(1.0, "Exponent of the distance to the bound.")
    pow_gamma_dtod: float = param(0.1, "Relative device-to-device spread of the exponent.")
    pow_up_down: float = param(0.0, "Asymmetry: positive shrinks the down exponent, negative the up exponent.")
    pow_up_down_dtod: float = param(0.0, "Device-to-device spread of the asymmetry, relative to ``pow_gamma``.")

    def check(self) -> None:
        super().check()
        require(0.0 <= self.pow_gamma < 100.0, self, "pow_gamma must lie in 0..100")
        require(abs(self.pow_up_down) < math.inf, self, "pow_up_down must be finite")


@dataclass
class PowStepDevice(PowerLawStepDevice, WriteNoiseDevice):
    """The step is a power of the distance to the bound."""


@dataclass
class PowStepReferenceDevice(PowerLawStepDevice):
    """Power steps seen from a reference device: the weight is the conductance minus the reference of the cell."""

    subtract_symmetry_point: bool = param(False, "Add the symmetry point of each device to its reference.")
    n_estimation_steps: int = param(-1, "Halvings of the interval that holds the symmetry point; below 1 it is 30.")
    reference_mean: float = param(0.0, "Mean of the reference.", unit="weight")
    reference_std: float = param(0.0, "Device-to-device spread of the reference.", unit="weight")

    def check(self) -> None:
        super().check()
        require(abs(self.reference_mean) < math.inf, self, "reference_mean must be finite")


@dataclass
class PiecewiseStepDevice(WriteNoiseDevice):
    """The step is interpolated between nodes that lie at equal distances from bound to bound."""

    piecewise_up: tuple[float, ...] = param((1.0,), "Factors on the up step, from the lower to the upper bound.")
    piecewise_down: tuple[float, ...] = param((1.0,), "Factors on the down step, from the lower to the upper bound.")

    def check(self) -> None:
        super().check()
        up, down = self.piecewise_up, self.piecewise_down
        require(
            0 < len(up) == len(down),
            self,
            "piecewise_up and piecewise_down need the same number of nodes, at least one",
        )
        require(all(abs(v) < math.inf for v in up + down), self, "the nodes must be finite")
        require(
            self.middle_factor > 0.0, self, "the mean of up and down factor halfway between the bounds must be positive"
        )

    @property
    def middle_factor(self) -> float:
        """Mean of the up and down factor halfway between the bounds."""
        n = len(self.piecewise_up)
        middle = {(n - 1) // 2, n // 2}
        return sum(self.piecewise_up[i] + self.piecewise_down[i] for i in middle) / (2 * len(middle))


@dataclass
class TableStepDevice(WriteNoiseDevice):
    """The step is drawn from measured distributions, which `rpu_sim.table` fits to pulse data.

    A table has a row for each of some bins of equal width from the lower to the upper bound, and in each row the
    quantiles of the signed step at equidistant probabilities from 0 to 1.
    """

    dw_min_dtod: float = param(0.0, "Relative device-to-device spread of the gain, a factor on all steps of a device.")
    dw_min_std: float = param(0.0, "Stays 0: the cycle noise is in the tables.")
    up_down_dtod: float = param(0.0, "Device-to-device spread of the asymmetry of the gains.")
    w_max_dtod: float = param(0.0, "Relative device-to-device spread of the upper bound; the table is stretched to it.")
    w_min_dtod: float = param(0.0, "Relative device-to-device spread of the lower bound; the table is stretched to it.")
    step_up: tuple[tuple[float, ...], ...] = param(((1.0, 1.0),), "Quantiles of the up step.", unit="dw_min")
    step_down: tuple[tuple[float, ...], ...] = param(((-1.0, -1.0),), "Quantiles of the down step.", unit="dw_min")

    def check(self) -> None:
        super().check()
        require(self.dw_min_std == 0.0, self, "the cycle noise is in the tables; leave dw_min_std at 0")
        tables = (self.step_up, self.step_down)
        widths = {len(row) for table in tables for row in table}
        rows = {len(table) for table in tables}
        require(len(rows) == len(widths) == 1, self, "step_up and step_down need rows of one length, and as many rows")
        require(min(rows) >= 1 and min(widths) >= 2, self, "the tables need at least one row of two quantiles")
        require(max(rows) * max(widths) <= 1 << 20, self, "the tables have at most 2**20 numbers")
        for row in self.step_up + self.step_down:
            require(all(abs(v) < math.inf for v in row), self, "the quantiles must be finite")
            require(list(row) == sorted(row), self, "the quantiles of a row must not decrease")
        require(self.middle_step > 0.0, self, "the mean of up step and negative down step halfway must be positive")

    @property
    def middle_step(self) -> float:
        """Mean of the up step and the negative down step halfway between the bounds, in units of ``dw_min``."""
        n = len(self.step_up)
        means = [
            mean_of_quantiles(self.step_up[i]) - mean_of_quantiles(self.step_down[i]) for i in {(n - 1) // 2, n // 2}
        ]
        return sum(means) / (2 * len(means))


def mean_of_quantiles(row: tuple[float, ...]) -> float:
    """Mean of the law whose quantiles at equidistant probabilities are ``row``, linear in between."""
    return (sum(row) - 0.5 * (row[0] + row[-1])) / (len(row) - 1)


Device = FloatingPointDevice | IdealDevice | PulsedDevice
