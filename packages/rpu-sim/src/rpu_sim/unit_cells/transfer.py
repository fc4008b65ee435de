"""The transfer between two arrays: slices of the source are read through its converters and written to the target.

One edge serves the whole Tiki-Taka family. Without a buffer it writes what it reads (`TransferCompound`). With one it
writes whole steps (`BufferedTransferCompound`); the choppers of `ChoppedTransferCompound` switch the sign of the lines,
and `DynamicTransferCompound` measures the zero of the source in each phase of the chopper.
"""

from __future__ import annotations

import math

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
from ..config.base import LARGEST
from ..device_array import STEP_MASK, PulseRule, Trains
from ..errors import ConfigError
from ..gpu import HOST, Space, host
from ..seeds import derive_seed
from ..streams import Stream
from .protocol import Arrays, Cells

_SLICE, _SWEEP, _CALL = range(3)  # the counters
_ON_HOST = ("counters", "in_chopper", "out_chopper", "switched")  # what decides, and is small


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
        self.period(1)  # an impossible one is refused here, not in the middle of an update
        self._make_state(buffered)
        self._make_product()
        self._make_write()
        self.resume()

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
            self._switched = self.held["switched"] = np.zeros(self.n_slices, np.int64)
        self._counters = self.held["counters"]
        io, direction = self._converters()
        for name, shape in periphery.buffer_shapes(io, direction, self.source.weight.shape).items():
            self.held[f"buffer.{direction}_{name}"] = np.zeros(shape, np.float32)

    def move(self, space: Space) -> None:
        """Follow the arrays on both ends, which are in another space already."""
        self.space = space
        for name in self.held.keys() - set(_ON_HOST):
            self.held[name] = space.put(self.held[name])
        self._make_product()
        self._make_write()
        self.resume()

    def _converters(self) -> tuple[IOParameters, str]:
        io = self.config.transfer_forward.mutable_copy()
        io.noise_management = NoiseManagementType.NONE  # the one-hot input is the full range by itself
        io.bound_management = BoundManagementType.NONE
        return io, "forward" if self.columns else "backward"

    def _make_product(self) -> None:
        io, direction = self._converters()
        self._product = periphery.product(io, direction, self.source.weight, self.held)
        self._one_hot = self.space.at(np.zeros((1, self.n_slices), np.float32))
        self._one_hot_row = self._one_hot.reshape(self.n_slices)
        self._read = self.space.at(np.zeros((1, self.length), np.float32))
        self._draws = {n: np.zeros((1, n), np.float32) for n in (1, self.length)}

    def _make_write(self) -> None:
        config = self.config
        self._rule = PulseRule(config.transfer_update)
        ones = np.ones(self.length, np.float32)
        self._along = self.space.at(self.held["in_chopper"]) if self.chopped else None
        self._across = self.space.at(self.held.get("out_chopper", ones))
        self.threshold = 0.0
        if not isinstance(config, BufferedTransferCompound | ChoppedTransferCompound):
            return
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
        self._buffer = _core.TransferBuffer(
            self.held["buffered"],
            self._across,
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
        self._steps = self.space.at(np.zeros((1, self.length), np.float32))

    def draw(self) -> None:
        """Draw the constants of the converters."""
        self._product.draw_constants(self.key)

    def set_seed(self, seed: int) -> None:
        """Take the key of another seed."""
        self.key = derive_seed(seed)

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
        self._counters[_SLICE] = 0

    # -- choppers ----------------------------------------------------------------------------------------------------

    def resume(self) -> None:
        """Take notice of arrays that were written from outside."""
        if self.chopped:
            assert isinstance(self.config, ChoppedTransferCompound)
            self._chops_across = self.config.out_chop_prob > 0.0 or bool((self.held["out_chopper"] < 0.0).any())
            self._copy_signs()

    def _copy_signs(self) -> None:
        if self.space is not HOST:
            self._along[...] = self.held["in_chopper"]
            self._across[...] = self.held["out_chopper"]

    def chop(self, x: Float32, d: Float32) -> tuple[Float32, Float32]:
        """x and d with the present signs of their lines; copies where signs may still change."""
        along, across = (x, d) if self.columns else (d, x)
        along = self.space.scaled(along, columns=self._along)
        across = self.space.scaled(across, columns=self._across) if self._chops_across else across
        return (along, across) if self.columns else (across, along)

    def signs(self) -> tuple[Float32, Float32]:
        """The signs of the rows and of the columns with which the source holds its weights."""
        return (self._across, self._along) if self.columns else (self._along, self._across)

    def _uniform(self, stream: Stream, n: int) -> Float32:
        draw = self._draws[n]
        _core.uniform(draw, 0.0, 1.0, self.key, stream, int(self._counters[_CALL]) & STEP_MASK)
        numbers: Float32 = draw[0]
        return numbers

    def _switch(self, at: int, x: Float32, d: Float32, done: int) -> None:
        """Switch signs after a read, also in the samples from ``done`` on, which are still to come."""
        config, sweep = self.config, int(self._counters[_SWEEP])
        assert isinstance(config, ChoppedTransferCompound)
        along, across = (x, d) if self.columns else (d, x)
        if config.in_chop_prob > 0.0 and not config.in_chop_random:
            switches = sweep % self.phase == self.phase - 1
        else:
            switches = config.in_chop_prob > 0.0 and self._uniform(Stream.IN_CHOPPER, 1)[0] < config.in_chop_prob
        if switches:
            self.held["in_chopper"][at] *= -1.0
            self.space.flip_column(along[done:], at)
            if self.dynamic:
                self._switched[at] = 1
        if at == self.n_slices - 1:
            if config.out_chop_prob > 0.0:
                flips = np.where(self._uniform(Stream.OUT_CHOPPER, self.length) < config.out_chop_prob, -1.0, 1.0)
                self.held["out_chopper"][...] *= flips
                self.space.scale_columns(across[done:], flips.astype(np.float32))
            self._counters[_SWEEP] = sweep + 1
        self._copy_signs()

    # -- transfer ----------------------------------------------------------------------------------------------------

    def transfer(self, lr: float, fast_rate: float, period: int, x: Float32, d: Float32, done: int) -> None:
        """Read and write the next slices.

        Args:
            lr: Learning rate of the tile.
            fast_rate: Learning rate of the fast array at the last sample.
            period: Samples between two transfers.
            x: Inputs of this call; choppers change the signs of those that are still to come.
            d: Likewise.
            done: Samples that are not still to come.
        """
        rate = self._rate(lr)
        if rate == 0.0:
            return
        counters, start = self._counters, int(self._counters[_SLICE])
        if self.config.random_selection:
            start = min(int(self._uniform(Stream.TRANSFER_SLICE, 1)[0] * self.n_slices), self.n_slices - 1)
        for i in range(self.n_reads):
            at = (start + i) % self.n_slices
            self._one_hot_row[at] = 1.0
            try:
                self._transfer_slice(at, rate, fast_rate, period)
            finally:
                self._one_hot_row[at] = 0.0
            if self.chopped:
                self._switch(at, x, d, done)
            counters[_CALL] += 1
        counters[_SLICE] = (start + self.n_reads) % self.n_slices

    def _rate(self, lr: float) -> float:
        return self.rate * abs(lr) if self.config.scale_transfer_lr else self.rate

    def check_rate(self, lr: float) -> None:
        """Raise `ConfigError` if a write asks more of the target than its pulses can give; see `DeviceArray`."""
        rate = self._rate(lr)
        if rate != 0.0 and self.threshold == 0.0:
            self.target.check_rate(self._rule, rate)
        elif rate != 0.0:
            self.target.check_rate(self._step_rule, self._step_rate)

    def _transfer_slice(self, at: int, rate: float, fast_rate: float, period: int) -> None:
        call = int(self._counters[_CALL])
        self._product(self._one_hot, self._read, self.key, call & STEP_MASK, 0)
        if self.threshold > 0.0:
            if self._take_steps(at, abs(rate), fast_rate, period):
                steps = self._steps if self._step_share == 1.0 else self._shared_steps()
                self._write(steps, self._step_rule, -self._step_rate, call)
            return
        if self.config.with_reset_prob > 0.0:
            self.source.reset(at, 1, self.config.with_reset_prob)
        self._write(self._unprotected(rate), self._rule, -rate, call)

    def _unprotected(self, rate: float) -> Float32:
        """What was read; of a row without the part that no train can carry.

        Update management would scale a whole row down where it only cuts the large elements of a column.
        """
        if self.columns or not (self._rule.parameters.update_management or self._rule.parameters.update_bl_management):
            return self._read
        most = self._rule.parameters.desired_bl * self.target.granularity / abs(rate)
        cut: Float32 = self.space.limited(self._read, most)
        return cut

    def _shared_steps(self) -> Float32:
        shares: Float32 = self.space.empty((1, self.length))
        self.space.combine(shares, self._steps, self._step_share)
        return shares

    def _write(self, values: Float32, rule: PulseRule, rate: float, call: int) -> None:
        x, d = (self._one_hot, values) if self.columns else (values, self._one_hot)
        self.target.update(rule, x, d, rate, Trains(self.key, call, 0))

    def _take_steps(self, at: int, rate: float, fast_rate: float, period: int) -> bool:
        """Put what was read into the buffer; whether there are steps to write."""
        gain, starts_phase, writes = rate, False, True
        if self.chopped:
            gain = self._gain(rate, fast_rate, period) * float(self.held["in_chopper"][at])
        if self.dynamic:
            starts_phase = bool(self._switched[at])
            if starts_phase:
                self._switched[at] = 0
            # Until every line has seen a whole phase its zero is not known, and steps are dropped.
            writes = int(self._counters[_SWEEP]) > self.phase
        return self._buffer(self._read, self._steps, at, gain, starts_phase) and writes

    def _gain(self, rate: float, fast_rate: float, period: int) -> float:
        """What a read adds to the buffer, in steps per weight."""
        config = self.config
        assert isinstance(config, ChoppedTransferCompound)
        fast = self.source.granularity
        step = (config.buffer_granularity if config.buffer_granularity > 0.0 else 1.0) * fast
        if config.auto_granularity > 0.0:
            step *= config.auto_granularity / (self.n_slices * period)
        if config.correct_gradient_magnitudes:
            step *= abs(fast_rate) * self.target.granularity / fast
        if isinstance(config, DynamicTransferCompound) and config.experimental_correct_accumulation:
            step *= min(int(self._counters[_SWEEP]) % self.phase + 1, 1.0 / fast)
        return rate / step if step * LARGEST > rate else LARGEST

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
