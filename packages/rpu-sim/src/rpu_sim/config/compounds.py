"""Cells of several devices, and the learning algorithms that move weight between arrays of devices."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from .base import ConfigBase, param, require, walk
from .devices import PulsedDevice
from .enums import VectorUnitCellUpdatePolicy
from .io import IOParameters
from .update import UpdateParameters


def _one_pulse() -> UpdateParameters:
    return UpdateParameters(desired_bl=1, update_bl_management=False, update_management=False)


def _check_devices(cell: ConfigBase, devices: list[Any], least: int, most: float = math.inf) -> None:
    needs = f"exactly {least}" if least == most else f"{least} or {most}" if most < math.inf else f"at least {least}"
    require(least <= len(devices) <= most, cell, f"unit_cell_devices must hold {needs} devices, not {len(devices)}")
    for device in devices:
        known = isinstance(device, (PulsedDevice, UnitCell))
        require(known, cell, f"unit_cell_devices must hold pulsed devices or unit cells, not {device!r}")


@dataclass
class UnitCell(ConfigBase):
    """Base of the cells with several devices at each crosspoint."""

    unit_cell_devices: list[ConfigBase] = param(list, "The devices or cells at each crosspoint.")
    construction_seed: int = param(0, "Seed of the draw of all devices; 0 takes the seed of the tile.")

    def check(self) -> None:
        for _ in walk(self):  # raises for a cell that holds itself, which could not be checked
            pass
        super().check()


@dataclass
class VectorUnitCell(UnitCell):
    """Several devices per crosspoint; the weight is their weighted sum."""

    update_policy: VectorUnitCellUpdatePolicy = param(
        VectorUnitCellUpdatePolicy.ALL, "Which devices an update pulses; chosen once per call of the update."
    )
    first_update_idx: int = param(0, "Index of the device that is pulsed first.")
    gamma_vec: tuple[float, ...] = param((), "Factor of each device in the weight; empty: ``1 / n`` each.")

    def check(self) -> None:
        super().check()
        _check_devices(self, self.unit_cell_devices, 1)
        n = len(self.unit_cell_devices)
        require(len(self.gamma_vec) in (0, n), self, f"gamma_vec must be empty or hold {n} factors")
        require(not self.gamma_vec or any(self.gamma_vec), self, "gamma_vec must hold a factor other than 0")
        require(all(abs(v) < math.inf for v in self.gamma_vec), self, "gamma_vec must hold finite factors")
        require(0 <= self.first_update_idx < n, self, f"first_update_idx must lie in 0..{n - 1}")


@dataclass
class ReferenceUnitCell(VectorUnitCell):
    """A device that is trained, minus a reference device that is not."""

    update_policy: VectorUnitCellUpdatePolicy = param(
        VectorUnitCellUpdatePolicy.SINGLE_FIXED, "Which device an update pulses."
    )
    gamma_vec: tuple[float, ...] = param((1.0, -1.0), "Factors of the device and of the reference.")

    def check(self) -> None:
        UnitCell.check(self)
        _check_devices(self, self.unit_cell_devices, 1)
        require(len(self.gamma_vec) == 2 and any(self.gamma_vec), self, "gamma_vec must hold 2 factors")
        require(all(abs(v) < math.inf for v in self.gamma_vec), self, "gamma_vec must hold finite factors")
        require(0 <= self.first_update_idx < 2, self, "first_update_idx must be 0 or 1")


@dataclass
class OneSidedUnitCell(UnitCell):
    """Two devices that are only ever pulsed up, one for each sign of the weight, with a periodic refresh."""

    refresh_every: int = param(0, "Period of the refresh; 0 is never.")
    units_in_mbatch: bool = param(True, "The period counts update calls instead of samples.")
    refresh_upper_thres: float = param(0.75, "Refresh when the larger device exceeds this share of ``w_max`` ...")
    refresh_lower_thres: float = param(0.25, "... and the smaller one exceeds this share.")
    refresh_forward: IOParameters = param(IOParameters, "Signal chain of the read of a refresh.")
    refresh_update: UpdateParameters = param(UpdateParameters, "Pulses of a refresh; their number is not limited.")
    copy_inverted: bool = param(False, "The plus device is the mirror image of the minus device.")

    def check(self) -> None:
        super().check()
        _check_devices(self, self.unit_cell_devices, 1, 2)
        first = self.unit_cell_devices[0]
        pulsed = all(isinstance(d, PulsedDevice) for d in self.unit_cell_devices)
        require(pulsed, self, "unit_cell_devices must hold pulsed devices, not cells")
        require(all(type(d) is type(first) for d in self.unit_cell_devices), self, "both devices must have one type")
        require(self.refresh_every >= 0, self, "refresh_every must not be negative")


@dataclass
class DifferenceUnitCell(OneSidedUnitCell):
    """Another name of `OneSidedUnitCell`."""


@dataclass
class TransferCompound(UnitCell):
    """Tiki-Taka: a fast array takes the gradient and is read slice by slice into a slow one.

    Gokmen and Haensch, doi:10.3389/fnins.2020.00103. The first device is the fast one, the second that of all others.
    Noise and bound management of ``transfer_forward`` are not used.
    """

    gamma: float = param(0.0, "Factor of the fast array in the weight; array j of n has ``gamma ** (n - 1 - j)``.")
    gamma_vec: tuple[float, ...] = param((), "Factors of all arrays, instead of ``gamma``.")
    transfer_every: float = param(1.0, "Period of the transfer of one slice; 0 is never.")
    no_self_transfer: bool = param(True, "Kept for existing scripts: the last array never transfers.")
    transfer_every_vec: tuple[float, ...] = param((), "Periods of all arrays, instead of ``transfer_every``.")
    units_in_mbatch: bool = param(True, "Periods count update calls instead of samples.")
    n_reads_per_transfer: int = param(1, "Slices read per transfer.")
    transfer_columns: bool = param(True, "A slice is a column; False: a row.")
    with_reset_prob: float = param(0.0, "Probability that a device of a read column is reset.")
    random_selection: bool = param(False, "Start each transfer at a random slice.")
    fast_lr: float = param(1.0, "Learning rate of the fast array; 0 takes that of the tile.")
    transfer_lr: float = param(1.0, "Learning rate of a transfer.")
    transfer_lr_vec: tuple[float, ...] = param((), "Learning rates of the transfers out of each array.")
    scale_transfer_lr: bool = param(True, "Multiply learning rates of transfers by that of the tile.")
    scale_fast_lr: bool = param(True, "Multiply ``fast_lr`` by the learning rate of the tile.")
    transfer_forward: IOParameters = param(IOParameters, "Signal chain of the read of a slice.")
    transfer_update: UpdateParameters = param(UpdateParameters, "Pulses of the write of a slice.")

    def check(self) -> None:
        super().check()
        _check_devices(self, self.unit_cell_devices, *self._n_devices())
        n = len(self.unit_cell_devices)
        for name in ("gamma_vec", "transfer_every_vec", "transfer_lr_vec"):
            require(len(getattr(self, name)) in (0, n), self, f"{name} must be empty or hold {n} values")
        require(not self.gamma_vec or self.gamma_vec[-1] != 0.0, self, "the last value of gamma_vec must not be 0")
        periods = self.transfer_every_vec or (self.transfer_every,)
        self._check_periods(periods)
        require(self.n_reads_per_transfer >= 1, self, "n_reads_per_transfer must be at least 1")
        require(0.0 <= self.with_reset_prob <= 1.0, self, "with_reset_prob must lie in 0..1")
        require(self.transfer_columns or self.with_reset_prob == 0.0, self, "rows that are read cannot be reset")
        require(0.0 <= self.fast_lr < math.inf, self, "fast_lr must be finite and not negative")
        factors = (self.gamma, *self.gamma_vec, self.transfer_lr, *self.transfer_lr_vec)
        require(all(abs(v) < math.inf for v in factors), self, "gamma and transfer_lr must be finite")

    def _n_devices(self) -> tuple[int, float]:
        return 2, math.inf

    def _check_periods(self, periods: tuple[float, ...]) -> None:
        require(all(0.0 <= p < math.inf for p in periods), self, "transfer_every must be finite and not negative")
        rounds_to_0 = not self.units_in_mbatch and any(0.0 < p < 0.5 for p in periods)
        require(not rounds_to_0, self, "a period in samples is a whole number; set transfer_every to 0 or at least 0.5")


@dataclass
class BufferedTransferCompound(TransferCompound):
    """TTv2: what is read gathers in a digital buffer, and a pulse is written when it has grown to a step.

    Gokmen, doi:10.3389/frai.2021.699148.
    """

    thres_scale: float = param(1.0, "Threshold of the buffer in granularities of the written device.")
    step: float = param(1.0, "Weight change written for a step of the buffer.", unit="granularity")
    momentum: float = param(0.1, "Share of the buffer that is kept when a step is taken.")
    forget_buffer: bool = param(True, "Only that share is kept; False: what was not taken is kept as well.")
    transfer_update: UpdateParameters = param(_one_pulse, "Pulses of a write; ``desired_bl`` is the largest number.")

    def check(self) -> None:
        super().check()
        require(self.thres_scale > 0.0, self, "thres_scale must be positive")
        require(self.step > 0.0, self, "step must be positive")
        require(0.0 <= self.momentum <= 1.0, self, "momentum must lie in 0..1")


@dataclass
class ChoppedTransferCompound(TransferCompound):
    """Chopped TTv2: the sign of the gradient in each line of the fast array is switched now and then.

    What a device adds by itself then cancels in the buffer. Rasch, Carta, Fagbohungbe and Gokmen,
    doi:10.1038/s41467-024-51221-z.
    """

    in_chop_prob: float = param(0.1, "Probability or frequency of switching the sign of an input line.")
    in_chop_random: bool = param(True, "Switch at random; False: every ``1 / in_chop_prob`` reads of a line.")
    out_chop_prob: float = param(0.0, "Probability of switching an output line after all slices were read once.")
    buffer_granularity: float = param(1.0, "Threshold of the buffer in granularities of the fast device.")
    auto_granularity: float = param(0.0, "If positive, the threshold is this over the samples of a sweep instead.")
    step: float = param(1.0, "Weight change written for a step of the buffer.", unit="granularity")
    momentum: float = param(0.0, "Share of the buffer that is kept when a step is taken.")
    forget_buffer: bool = param(True, "Only that share is kept; False: what was not taken is kept as well.")
    no_buffer: bool = param(False, "Take steps from each read alone.")
    units_in_mbatch: bool = param(False, "Periods count update calls instead of samples.")
    auto_scale: bool = param(False, "Scale ``fast_lr`` by the running maxima of x and d.")
    auto_momentum: float = param(0.99, "Momentum of the running maxima, per update call.")
    correct_gradient_magnitudes: bool = param(False, "Undo the scale of the fast learning rate in the buffer.")
    scale_fast_lr: bool = param(False, "Multiply ``fast_lr`` by the learning rate of the tile.")
    transfer_update: UpdateParameters = param(_one_pulse, "Pulses of a write; ``desired_bl`` is the largest number.")

    def check(self) -> None:
        super().check()
        require(self.n_reads_per_transfer == 1, self, "n_reads_per_transfer must be 1")
        require(self.with_reset_prob == 0.0, self, "with_reset_prob must be 0")
        require(not self.random_selection, self, "random_selection must be False")
        require(0.0 <= self.in_chop_prob <= 1.0, self, "in_chop_prob must lie in 0..1")
        require(0.0 <= self.out_chop_prob <= 1.0, self, "out_chop_prob must lie in 0..1")
        require(0.0 < self.auto_momentum < 1.0, self, "auto_momentum must lie between 0 and 1")
        require(self.step > 0.0, self, "step must be positive")
        require(0.0 <= self.momentum <= 1.0, self, "momentum must lie in 0..1")

    def _n_devices(self) -> tuple[int, float]:
        return 2, 2

    def _check_periods(self, periods: tuple[float, ...]) -> None:
        if len(periods) == 1 and periods[0] < 0.0:  # the automatic period
            require(not self.units_in_mbatch, self, "an automatic period counts samples; set units_in_mbatch to False")
        else:
            super()._check_periods(periods)


@dataclass
class DynamicTransferCompound(ChoppedTransferCompound):
    """AGAD: as chopped TTv2, and the zero of the fast array is measured on the fly in each chopper phase.

    The slow array keeps its weights during the first ``1 / in_chop_prob + 1`` sweeps, of ``transfer_every`` samples for
    each column.

    Rasch, Carta, Fagbohungbe and Gokmen, doi:10.1038/s41467-024-51221-z.
    """

    in_chop_random: bool = param(False, "Switch at random; False: every ``1 / in_chop_prob`` reads of a line.")
    experimental_correct_accumulation: bool = param(False, "Weigh a read by how long its phase has lasted.")
    buffer_cap: float = param(0.0, "If positive, cap of the buffer in units of ``transfer_update.desired_bl``.")
    tail_weightening: float = param(5.0, "Weight of the last reads of a phase in its mean; 1 is the phase's length.")

    def check(self) -> None:
        super().check()
        require(self.in_chop_prob > 0.0, self, "in_chop_prob must be positive")
        require(self.tail_weightening > 0.0, self, "tail_weightening must be positive")
        require(self.buffer_cap >= 0.0, self, "buffer_cap must not be negative")


def _takes_gradients(device: Any) -> bool:
    parts = getattr(device, "unit_cell_devices", [])
    return isinstance(device, TransferCompound) or any(_takes_gradients(part) for part in parts)


@dataclass
class DigitalRankUpdateCell(ConfigBase):
    """Base of the cells whose gradient is accumulated digitally."""

    device: ConfigBase = param(VectorUnitCell, "The device or cell at each crosspoint.")
    construction_seed: int = param(0, "Seed of the draw of the devices; 0 takes the seed of the tile.")

    def check(self) -> None:
        super().check()
        known = isinstance(self.device, (PulsedDevice, UnitCell))
        require(known, self, "device must be a pulsed device or a unit cell")
        require(
            not _takes_gradients(self.device), self, "device must not hold a compound: those take gradients, not steps"
        )


@dataclass
class MixedPrecisionCompound(DigitalRankUpdateCell):
    """The gradient gathers digitally and is written in whole steps, row by row.

    Nandakumar et al., doi:10.3389/fnins.2020.00406.
    """

    transfer_every: int = param(1, "Period of the transfers in update calls; 0 is never.")
    n_rows_per_transfer: int = param(-1, "Rows written per transfer; -1 all, 0 none.")
    random_row: bool = param(False, "Start each transfer at a random row.")
    granularity: float = param(0.0, "Gradient that counts as one step; 0 takes the device's granularity.")
    transfer_lr: float = param(1.0, "Weight written for a step, in ``granularity``.")
    n_x_bins: int = param(0, "Levels of x in the digital product; 0 is off.")
    n_d_bins: int = param(0, "Levels of d in the digital product; 0 is off.")
    stoc_round_x: bool = param(True, "Round x stochastically.")
    stoc_round_d: bool = param(True, "Round d stochastically.")

    def check(self) -> None:
        super().check()
        require(self.transfer_every >= 0, self, "transfer_every must not be negative")
        require(self.n_rows_per_transfer >= -1, self, "n_rows_per_transfer must be -1, 0 or a number of rows")
        require(self.granularity >= 0.0, self, "granularity must not be negative")
        for name in ("n_x_bins", "n_d_bins"):
            require(getattr(self, name) == 0 or getattr(self, name) >= 2, self, f"{name} must be 0 or at least 2")
