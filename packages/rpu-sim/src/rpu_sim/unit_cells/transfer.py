"""The transfer between two arrays: slices of the source are read through its converters and written to the target.

The steps are compiled (``core/ops/compound.cpp``); here are their rules, their state and their schedule. One edge
serves the whole Tiki-Taka family. Without a buffer it writes what it reads (`TransferCompound`). With one it writes
whole steps (`BufferedTransferCompound`); the choppers of `ChoppedTransferCompound` switch the sign of the lines, and
`DynamicTransferCompound` measures the zero of the source in each phase of the chopper.
"""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np

from .. import _core, periphery
from ..arrays import Float32
from ..config import (
    BoundManagementType,
    BufferedTransferCompound,
    ChoppedTransferCompound,
    DynamicTransferCompound,
    IOParameters,
    NoiseManagementType,
    PulsedDevice,
    PulseType,
    TransferCompound,
    UpdateParameters,
)
from ..device_array import DeviceArray, PulseRule
from ..errors import ConfigError
from ..gpu import HOST, Space, host
from ..seeds import derive_seed
from .protocol import Arrays, Cells

_SLICE = 0  # the first of the counters: slice, sweep, call
_ON_HOST = ("counters", "in_chopper", "out_chopper", "switched")  # what decides, and is small


def behind(cells: Cells) -> Any:
    """Cells as the compiled step of a compound sees them."""
    return _core.CellArray(cells, is_array=isinstance(cells, DeviceArray) and cells.core_device is not None)


class TransferEdge:
    """From array ``index`` of a compound to the next one.

    Attributes:
        held: The state of the edge; a slice is a row of its matrices.
        space: Where its matrices lie; the signs of lines and the counters are on the host.
    """

    def __init__(self, config: TransferCompound, index: int, source: Cells, target: Cells, gains: list[float]) -> None:
        self.config, self.index, self.source, self.target = config, index, source, target
        out_size, in_size = source.weight.shape
        self.columns = config.transfer_columns
        self.n_slices, self.length = (in_size, out_size) if self.columns else (out_size, in_size)
        self.n_reads = min(config.n_reads_per_transfer, self.n_slices)
        self.rate = config.transfer_lr_vec[index] if config.transfer_lr_vec else config.transfer_lr
        both = gains[index] > 0.0 and gains[index + 1] > 0.0
        buffered = isinstance(config, (BufferedTransferCompound, ChoppedTransferCompound))
        self.rate *= gains[index] / gains[index + 1] if both and buffered else 1.0
        self.chopped = isinstance(config, ChoppedTransferCompound)
        self.dynamic = isinstance(config, DynamicTransferCompound)
        self.space: Space = HOST
        self.buffered = buffered
        self.period(1)  # an impossible one is refused here, not in the middle of an update
        self._make_state(buffered)
        self._make_product()
        self._make_core()

    def move(self, space: Space) -> None:
        """Follow the arrays on both ends, which are in another space already."""
        self.space = space
        for name in self.held.keys() - set(_ON_HOST):
            self.held[name] = space.put(self.held[name])
        self._make_product()
        self._make_core()
        self.core.set_key(self.key)

    def _make_state(self, buffered: bool) -> None:
        matrix = (self.n_slices, self.length)
        self.held: Arrays = {"counters": np.zeros(3, np.int64)}
        if buffered:
            self.held["buffered"] = np.zeros(matrix, np.float32)
        if self.chopped:
            self.held["in_chopper"] = np.ones(self.n_slices, np.float32)
            self.held["out_chopper"] = np.ones(self.length, np.float32)
        if self.dynamic:
            self.held["running_mean"] = np.zeros(matrix, np.float32)
            self.held["past_mean"] = np.zeros(matrix, np.float32)
            self.held["switched"] = np.zeros(self.n_slices, np.int64)
        io, direction = self._converters()
        for name, shape in periphery.buffer_shapes(io, direction, self.source.weight.shape).items():
            self.held[f"buffer.{direction}_{name}"] = np.zeros(shape, np.float32)

    def _converters(self) -> tuple[IOParameters, str]:
        io = self.config.transfer_forward.mutable_copy()
        io.noise_management = NoiseManagementType.NONE  # the one-hot input is the full range by itself
        io.bound_management = BoundManagementType.NONE
        return io, "forward" if self.columns else "backward"

    def _make_product(self) -> None:
        io, direction = self._converters()
        self._product = periphery.product(io, direction, self.source.weight, self.held)

    def _make_core(self) -> None:
        config, update, buffered = self.config, self.config.transfer_update, self.buffered
        self._rule = PulseRule(update)
        self.threshold = 0.0
        buffer = self._make_buffer() if buffered else None
        cuts = not self.columns and (update.update_management or update.update_bl_management)
        choppers = {"in_chop_prob": 0.0, "out_chop_prob": 0.0, "in_chop_random": False}
        choppers = {name: getattr(config, name, default) for name, default in choppers.items()}
        granularity = getattr(config, "buffer_granularity", 0.0)
        rule = SimpleNamespace(
            columns=self.columns,
            reads=self.n_reads,
            random_selection=config.random_selection,
            rate=self.rate,
            scales_rate=config.scale_transfer_lr,
            reset_probability=config.with_reset_prob,
            most_steps=update.desired_bl if cuts else 0.0,
            source_granularity=self.source.granularity,
            target_granularity=self.target.granularity,
            chopped=self.chopped,
            measures_zero=self.dynamic,
            in_chop_probability=choppers["in_chop_prob"],
            out_chop_probability=choppers["out_chop_prob"],
            in_chop_random=choppers["in_chop_random"],
            phase=self.phase if buffered else 1,
            step_rate=self._step_rate if buffered else 0.0,
            step_share=self._step_share if buffered else 1.0,
            buffer_step=granularity if granularity > 0.0 else 1.0,
            auto_granularity=getattr(config, "auto_granularity", 0.0),
            corrects_gradient=getattr(config, "correct_gradient_magnitudes", False),
            corrects_accumulation=getattr(config, "experimental_correct_accumulation", False),
        )
        arrays = behind(self.source), behind(self.target)
        rules = self._rule, self._step_rule if buffered else self._rule
        self.core = _core.TransferEdge(
            rule, self.held, buffer, self._product, *arrays, *rules, self.n_slices, self.length
        )

    def _make_buffer(self) -> Any:
        config = self.config
        assert isinstance(config, (BufferedTransferCompound, ChoppedTransferCompound))
        most, g = config.transfer_update.desired_bl, self.target.granularity
        self._step_rule, self._step_share, self._step_rate = self._rule, 1.0, config.step * g
        if config.step == 1.0:
            # Exactly the wanted number of pulses: certain on the line of the slice, their share on the others.
            whole = UpdateParameters(
                desired_bl=most,
                pulse_type=PulseType.DETERMINISTIC_IMPLICIT,
                update_bl_management=False,
                update_management=False,
            )
            self._step_rule, self._step_share, self._step_rate = PulseRule(whole), 1.0 / most, most * g
        cap, weight, keeps = 0.0, 1.0, True
        self.threshold, self.phase = 1.0, 1
        if isinstance(config, BufferedTransferCompound):
            self.threshold = config.thres_scale * g
        elif config.in_chop_prob > 0.0:
            self.phase = max(math.ceil(1.0 / config.in_chop_prob), 2)
        if isinstance(config, DynamicTransferCompound):
            cap = 0.0 if config.forget_buffer else most * config.buffer_cap
            weight = min(config.tail_weightening / self.phase, 1.0)
        elif isinstance(config, ChoppedTransferCompound):
            keeps = not config.no_buffer
        self._out_signs = self.space.at(self.held.get("out_chopper", np.ones(self.length, np.float32)))
        return _core.TransferBuffer(
            self.held["buffered"],
            self._out_signs,
            self.held.get("running_mean"),
            self.held.get("past_mean"),
            threshold=self.threshold,
            most_steps=most,
            kept=config.momentum,
            forgets=config.forget_buffer,
            keeps=keeps,
            cap=cap,
            mean_weight=weight,
        )

    def draw(self) -> None:
        """Draw the constants of the converters."""
        self._product.draw_constants(self.key)

    def set_seed(self, seed: int) -> None:
        """Take the key of another seed."""
        self.key = derive_seed(seed)
        self.core.set_key(self.key)

    # -- schedule ----------------------------------------------------------------------------------------------------

    def period(self, batch: int) -> int:
        """Samples between two transfers, 0 for never, when an update call has ``batch`` samples."""
        config = self.config
        if config.transfer_every_vec:
            every = config.transfer_every_vec[self.index]
        else:  # a sweep of an array is one period of the next
            every = config.transfer_every * (self.n_slices / self.n_reads) ** self.index
        if every < 0.0:
            return max(1, round_half_away(self._n_states() / self.n_slices * abs(every)))
        return math.ceil(every * batch) if config.units_in_mbatch else round_half_away(every)

    def _n_states(self) -> float:
        device = self.config.unit_cell_devices[0]
        if not isinstance(device, PulsedDevice):
            raise ConfigError("an automatic period needs a fast device with bounds; set transfer_every to 0 or more")
        return float(device.w_max - device.w_min) / self.source.granularity

    def restart(self) -> None:
        """Begin with the first slice again, as after setting weights."""
        self.held["counters"][_SLICE] = 0

    def resume(self) -> None:
        """Take notice of signs that were written from outside."""
        if self.chopped and self.space is not HOST:
            self._out_signs[...] = self.held["out_chopper"]

    def signs(self) -> tuple[Float32, Float32]:
        """The signs of the rows and of the columns with which the source holds its weights."""
        along, across = self.held["in_chopper"], self.held["out_chopper"]
        return (across, along) if self.columns else (along, across)

    def _rate(self, lr: float) -> float:
        return self.rate * abs(lr) if self.config.scale_transfer_lr else self.rate

    def check_rate(self, lr: float) -> None:
        """Raise `ConfigError` if a write asks more of the target than its pulses can give; see `DeviceArray`."""
        rate = self._rate(lr)
        if rate != 0.0 and self.threshold == 0.0:
            self.target.check_rate(self._rule, rate)
        elif rate != 0.0:
            self.target.check_rate(self._step_rule, self._step_rate)

    # -- state -------------------------------------------------------------------------------------------------------

    def hidden(self) -> dict[str, str]:
        """Established names of the matrices held."""
        if self.dynamic:
            return {
                "buffered_FP_weight": "buffered",
                "running_mean_weight": "running_mean",
                "past_mean_weight": "past_mean",
            }
        return {f"buffered_FP_weight_{self.index}": "buffered"} if "buffered" in self.held else {}

    def hidden_parameters(self) -> Arrays:
        """Copies of the matrices held, [out, in] each."""
        return {name: self._oriented(host(self.held[own])).copy() for name, own in self.hidden().items()}

    def set_hidden_parameters(self, parameters: Arrays) -> None:
        """Replace matrices by their established names."""
        for name, own in self.hidden().items():
            if name in parameters:
                self._oriented(self.held[own])[...] = parameters[name]

    def _oriented(self, values: Float32) -> Float32:
        return values.T if self.columns else values


def round_half_away(value: float) -> int:
    """The nearest whole number, halves away from zero."""
    return int(math.copysign(math.floor(abs(value) + 0.5), value))
