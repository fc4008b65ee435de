"""Mixed precision: the gradient is accumulated digitally, and whole steps of it are written to the devices.

Nandakumar et al., doi:10.3389/fnins.2020.00406.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import _core, state
from ..arrays import Float32
from ..config import MixedPrecisionCompound, UpdateParameters
from ..device_array import STEP_MASK, PulseRule, Trains
from ..errors import ConfigError
from ..gpu import HOST, Space, host
from ..seeds import derive_seed
from ..streams import Stream
from . import held
from .build import make_cells
from .protocol import Arrays, Cells

_CALLS, _ROW, _TRANSFERS = range(3)  # the counters
MOST_PULSES = 8192  # that a device gets at once, kMaxChunkSlots in core/kernels.hpp


class RankUpdateCells:
    """Devices behind a digital accumulator chi [out, in].

    Args: as for `make_cells`; ``device`` is a `MixedPrecisionCompound`.
    """

    def __init__(
        self,
        device: MixedPrecisionCompound,
        update: UpdateParameters,
        weight: Float32,
        seed: int,
        steps: dict[str, int],
    ) -> None:
        self.weight, self.steps, self._update = weight, steps, update
        self.space: Space = HOST
        self.child: Cells = make_cells(device.device, update, weight, 0, {"update": 0, "lifecycle": 0})
        self.held: Arrays = {"chi": np.zeros(weight.shape, np.float32), "counters": np.zeros(3, np.int64)}
        self._counts = np.zeros(weight.shape, np.int32)
        self._set_compound(device)
        self.set_seed(seed)

    def _set_compound(self, compound: MixedPrecisionCompound) -> None:
        self.compound = compound
        self.threshold = compound.granularity or self.child.granularity
        if not self.threshold > 0.0:
            raise ConfigError("the wrapped device has no granularity; set granularity of the MixedPrecisionCompound")
        self._pulses_per_step = self.threshold * compound.transfer_lr / self.child.granularity
        most = MOST_PULSES / max(abs(self._pulses_per_step), 1.0)
        if most < 2.0:
            raise ConfigError("a step of chi would be thousands of pulses; lower granularity or transfer_lr")
        self._most_steps = math.floor(most) - 1  # in one transfer; what is beyond stays in chi

    def move(self, space: Space, weight: Any) -> None:
        """Hold all arrays in another space, where ``weight`` already holds the weights."""
        self.space, self.weight = space, weight
        self.child.move(space, weight)
        self.held["chi"] = space.put(self.held["chi"])
        self._counts = space.put(self._counts)

    def set_seed(self, seed: int) -> None:
        """Take the keys of another seed."""
        self.seed, self.key = seed, derive_seed(seed)
        self.child.set_seed(derive_seed(seed, "sub", 0))

    def draw(self, inherited_seed: int | None = None) -> None:
        """Draw the device-to-device variation."""
        seed = self.compound.construction_seed or inherited_seed
        self.child.draw(derive_seed(seed, "sub", 0) if seed else None)

    def reconfigure(self, device: MixedPrecisionCompound) -> None:
        """Take another compound with the devices of the present one."""
        if type(device.device) is not type(self.compound.device):
            raise ConfigError("reconfigure keeps the drawn devices; make a new Tile for another device class")
        self.child.reconfigure(device.device)
        self._set_compound(device)

    @property
    def hides_state(self) -> bool:
        """Whether the weight only shows what the devices hold."""
        return self.child.hides_state

    @property
    def granularity(self) -> float:
        """Granularity of the devices."""
        return self.child.granularity

    @property
    def pulses(self) -> list[int]:
        """Up and down pulses of the devices."""
        return self.child.pulses

    def check_rate(self, rule: PulseRule, lr: float, granularity: float | None = None) -> None:
        """Any learning rate will do: no trains are made from it."""

    # -- update ------------------------------------------------------------------------------------------------------

    def update(
        self,
        rule: PulseRule,
        x: Float32,
        d: Float32,
        lr: float,
        trains: Trains,
        *,
        granularity: float | None = None,
        rates: Float32 | None = None,
    ) -> None:
        """Add the gradient of a batch to chi; after every ``transfer_every``-th batch write whole steps."""
        compound, counters = self.compound, self.held["counters"]
        if len(x):
            if compound.n_x_bins > 0:
                x = self._rounded(x, "x", compound.n_x_bins, compound.stoc_round_x, Stream.RANK_ROUND_X, trains)
            if compound.n_d_bins > 0:
                d = self._rounded(d, "d", compound.n_d_bins, compound.stoc_round_d, Stream.RANK_ROUND_D, trains)
            _core.rank_update(self.held["chi"], x, d if rates is None else self.space.scaled(d, rates), -lr)
            counters[_CALLS] += 1
            if compound.transfer_every > 0 and counters[_CALLS] % compound.transfer_every == 0:
                self._transfer()
        self.steps["update"] += 1

    def _rounded(
        self, values: Float32, name: str, bins: int, stochastic: bool, stream: Stream, trains: Trains
    ) -> Float32:
        """Each sample on a grid of ``bins`` levels over its own range."""
        values = host(values)
        state.check_samples(values, name)
        half = np.float32(bins // 2)
        width = np.abs(values).max(axis=1, keepdims=True) / half
        width[width == 0.0] = 1.0
        scaled = values / width
        if stochastic:
            draw = np.empty((1, values.shape[1]), np.float32)
            for sample in range(len(values)):
                key = derive_seed(self.seed, "sample", trains.first_sample + sample)
                _core.uniform(draw, -0.5, 0.5, key, int(stream), trains.step & STEP_MASK)
                scaled[sample] += draw[0]
        result: Float32 = self.space.at(np.clip(np.rint(scaled), -half, half) * width)
        return result

    def _transfer(self) -> None:
        n_rows = self.weight.shape[0] if self.compound.n_rows_per_transfer < 0 else self.compound.n_rows_per_transfer
        n_rows = min(n_rows, self.weight.shape[0])
        if n_rows == 0:
            return
        counters, first = self.held["counters"], self._first_row(n_rows)
        chi, counts = self.held["chi"], self._counts
        most = _core.take_whole_steps(chi, counts, self.threshold, self._most_steps, first, n_rows)
        if most > 0:
            if self._pulses_per_step == 1.0:
                self.child.fire(counts, most)
            else:
                self.child.fire(self._pulses(host(counts)))
        counters[_ROW], counters[_TRANSFERS] = (first + n_rows) % len(chi), counters[_TRANSFERS] + 1

    def _first_row(self, n_rows: int) -> int:
        counters = self.held["counters"]
        if not self.compound.random_row or n_rows == self.weight.shape[0]:
            return int(counters[_ROW])
        draw = np.empty((1, 1), np.float32)
        _core.uniform(draw, 0.0, 1.0, self.key, int(Stream.RANK_ROW), int(counters[_TRANSFERS]) & STEP_MASK)
        first = int(draw[0, 0] * len(self.weight))
        return min(first, len(self.weight) - 1)

    def _pulses(self, steps: NDArray[np.int32]) -> NDArray[np.int32]:
        """Numbers of pulses for whole steps.

        A step that is no whole number of pulses is rounded stochastically, so that its mean is right.
        """
        draw = np.empty(steps.shape, np.float32)
        at = int(self.held["counters"][_TRANSFERS]) & STEP_MASK
        _core.uniform(draw, 0.0, 1.0, self.key, int(Stream.RANK_ROUND_X), at)
        lowered: NDArray[np.float32] = np.floor(steps * np.float32(-self._pulses_per_step) + draw)
        return -lowered.astype(np.int32)

    def fire(self, counts: Any, most: int = -1) -> None:
        """Fire given numbers of pulses."""
        self.child.fire(counts, most)

    # -- weights and devices -----------------------------------------------------------------------------------------

    def set_weights(self, weights: Any) -> None:
        """Set the weights of the devices and begin with an empty accumulator."""
        self.child.set_weights(weights)
        self.held["chi"][...] = 0.0
        self.held["counters"][[_CALLS, _ROW]] = 0

    def hidden_parameters(self) -> Arrays:
        """Copies of the parameters of the devices, and chi."""
        return self.child.hidden_parameters() | {"hidden_weights_chi": host(self.held["chi"]).copy()}

    def set_hidden_parameters(self, parameters: Arrays) -> None:
        """Replace checked parameters by name."""
        own = {name: values for name, values in parameters.items() if name != "hidden_weights_chi"}
        self.child.set_hidden_parameters(own)
        if "hidden_weights_chi" in parameters:
            self.held["chi"][...] = parameters["hidden_weights_chi"]

    def decay(self, alpha: float) -> None:
        """Let the weights decay."""
        self.child.decay(alpha)
        self.steps["lifecycle"] += 1

    def diffuse(self) -> None:
        """Let the weights diffuse."""
        self.child.diffuse()
        self.steps["lifecycle"] += 1

    def drift_for(self, delta_t: float) -> None:
        """Let the weights drift."""
        self.child.drift_for(delta_t)
        self.steps["lifecycle"] += 1

    def reset(self, start_column: int, n_columns: int, prob: float) -> None:
        """Reset a window of columns."""
        self.child.reset(start_column, n_columns, prob)
        self.steps["lifecycle"] += 1

    def post_update_step(self) -> None:
        """Diffusion and decay of the devices that have them."""
        self.child.post_update_step()

    # -- state -------------------------------------------------------------------------------------------------------

    def state(self) -> Arrays:
        """The arrays that are saved, not copied."""
        saved: Arrays = {"weight": self.weight, **state.step_counters(self.steps)}
        saved |= {f"sub.0.{name}": values for name, values in self.child.state().items()}
        return saved | {f"rank_update.{name}": values for name, values in self.held.items()}

    def check_state(self, arrays: Arrays, prefix: str) -> None:
        """Raise `StateError` unless the arrays of this prefix are sound."""
        state.check_numbers(arrays[prefix + "weight"], self.weight.shape, prefix + "weight")
        for name in state.step_counters(self.steps):
            state.check_counts(arrays[prefix + name], (), prefix + name)
        self.child.check_state(arrays, f"{prefix}sub.0.")
        held.check(self.held, arrays, f"{prefix}rank_update.")

    def restore(self, arrays: Arrays, prefix: str) -> None:
        """Take checked arrays of this prefix verbatim."""
        self.steps |= {kind: int(arrays[f"{prefix}step.{kind}"]) for kind in self.steps}
        self.child.restore(arrays, f"{prefix}sub.0.")
        held.restore(self.held, arrays, f"{prefix}rank_update.")
