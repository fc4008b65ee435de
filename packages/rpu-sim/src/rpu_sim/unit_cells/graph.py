"""A cell of several devices per crosspoint: arrays, their factors in the weight, and transfers between them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import _core, state
from ..arrays import Float32, empty_cells
from ..config import (
    ChoppedTransferCompound,
    OneSidedUnitCell,
    ReferenceUnitCell,
    TransferCompound,
    UnitCell,
    UpdateParameters,
    VectorUnitCell,
    VectorUnitCellUpdatePolicy,
)
from ..device_array import STEP_MASK, DeviceArray, Drive, PulseRule, Trains
from ..errors import ConfigError, RpuError, StateError
from ..gpu import HOST, Space, host
from ..seeds import derive_seed
from ..streams import Stream
from . import held
from .build import make_cells
from .layout import devices_of, factors_of
from .one_sided import RefreshEdge, mirror
from .protocol import Arrays, Cells
from .transfer import TransferEdge, behind

_SAMPLES, _CURRENT = range(2)  # the counters
_MINUS, _PLUS = range(2)  # the devices of a one-sided cell


class CellGraph:
    """The cells of any `UnitCell`.

    Args:
        cell: The configuration, checked.
        update: Parameters of the pulses of the gradient.
        weight: Float32 [out, in] that holds the weight, the weighted sum of the arrays.
        seed: From which the keys of all arrays and transfers follow.
        steps: Counters of update and lifecycle calls.

    Attributes:
        children: The arrays, or graphs of arrays.
        factors: Their factors in the weight.
        edges: What moves weight between them during an update.
        granularity: Weight change that counts as one pulse of an update.
        space: Where the arrays lie; counters and maxima are on the host.
    """

    def __init__(
        self, cell: UnitCell, update: UpdateParameters, weight: Float32, seed: int, steps: dict[str, int]
    ) -> None:
        self.weight, self.steps = weight, steps
        self.space: Space = HOST
        self.factors = factors_of(cell)
        *others, last = self.factors
        self._is_last = not any(others) and last == 1.0  # then the weight is the memory of the last array
        devices = devices_of(cell)
        memory = [empty_cells(weight.shape) for _ in devices]
        for hidden in memory:
            hidden[...] = 0.0
        if self._is_last:
            memory[-1] = weight
        self.children: list[Cells] = [
            make_cells(device, update, w, 0, {"update": 0, "lifecycle": 0})
            for device, w in zip(devices, memory, strict=True)
        ]
        self._set_cell(cell, update)
        self.set_seed(seed)

    def _set_cell(self, cell: UnitCell, update: UpdateParameters) -> None:
        self.cell, self._update = cell, update
        self.granularity = self._nominal_step()
        self._schedules: dict[int, list[int]] = {}
        self._checked: tuple[PulseRule, float, float] | None = None
        self.held: Arrays = {"counters": np.zeros(2, np.int64)}
        if isinstance(cell, ChoppedTransferCompound) and cell.auto_scale:
            self.held["maxima"] = np.zeros(2, np.float32)
        self._counters = self.held["counters"]
        self._counters[_CURRENT] = getattr(cell, "first_update_idx", 0)
        self.edges: list[TransferEdge | RefreshEdge] = []
        if isinstance(cell, TransferCompound):
            pairs = zip(self.children[:-1], self.children[1:], strict=True)
            self.edges += [TransferEdge(cell, j, a, b, self.factors) for j, (a, b) in enumerate(pairs)]
            self._compound = self._compiled()
        elif isinstance(cell, OneSidedUnitCell) and cell.refresh_every > 0:
            self.edges.append(RefreshEdge(cell, self.children[_MINUS], self.children[_PLUS]))

    def _compiled(self) -> Any:
        """The step of a compound on the arrays and the state held here."""
        cell, edges = self.cell, [edge.core for edge in self.edges if isinstance(edge, TransferEdge)]
        maxima, momentum = None, 0.0
        if isinstance(cell, ChoppedTransferCompound) and cell.auto_scale and cell.fast_lr > 0.0:
            maxima, momentum = self.held["maxima"], cell.auto_momentum
        return _core.Compound(behind(self.children[0]), edges, self._counters, maxima, momentum)

    def move(self, space: Space, weight: Any) -> None:
        """Hold all arrays in another space, where ``weight`` already holds the weights."""
        self.space, self.weight = space, weight
        for child in self.children:
            is_last = self._is_last and child is self.children[-1]
            child.move(space, weight if is_last else space.put(child.weight))
        for edge in self.edges:
            edge.move(space)
        if isinstance(self.cell, TransferCompound):
            self._compound = self._compiled()

    def set_seed(self, seed: int) -> None:
        """Take the keys of another seed, without drawing anything."""
        self.seed, self.key = seed, derive_seed(seed)
        for k, child in enumerate(self.children):
            child.set_seed(derive_seed(seed, "sub", k))
        for j, edge in enumerate(self.edges):
            edge.set_seed(derive_seed(seed, "transfer", j))

    def draw(self, inherited_seed: int | None = None) -> None:
        """Draw the device-to-device variation of all arrays and the constants of the converters between them."""
        seed = self.cell.construction_seed or inherited_seed
        for k, child in enumerate(self.children):
            child.draw(derive_seed(seed, "sub", k) if seed else None)
        if isinstance(self.cell, OneSidedUnitCell) and self.cell.copy_inverted:
            mirror(self.children[_MINUS], self.children[_PLUS])
        for edge in self.edges:
            edge.draw()

    def reconfigure(self, device: UnitCell) -> None:
        """Take another cell of the same structure with the devices and buffers of the present one."""
        devices = devices_of(device)
        if type(device) is not type(self.cell) or len(devices) != len(self.children):
            raise ConfigError("reconfigure keeps the drawn devices; make a new Tile for another cell")
        same = [type(a) is type(b) for a, b in zip(devices, devices_of(self.cell), strict=True)]
        shares = not any(factors_of(device)[:-1]) and factors_of(device)[-1] == 1.0
        if not all(same) or shares != self._is_last:
            raise ConfigError("reconfigure keeps the arrays of a cell; make a new Tile for other devices or factors")
        previous = self.cell, self.held, self.edges
        try:
            self._take(device, self.held, self.edges)
        except RpuError:
            self._take(*previous)
            raise

    def _take(self, cell: UnitCell, before: Arrays, edges: list[TransferEdge | RefreshEdge]) -> None:
        """Take a cell with the devices of the present one and with what was held before."""
        for child, device in zip(self.children, devices_of(cell), strict=True):
            child.reconfigure(device)
        self.factors = factors_of(cell)
        self._set_cell(cell, self._update)
        held.keep(self.held, before)
        self.set_seed(self.seed)
        for edge, earlier in zip(self.edges, edges, strict=False):
            edge.draw()
            held.keep(edge.held, earlier.held)
        self._read_out()

    def _nominal_step(self) -> float:
        if isinstance(self.cell, VectorUnitCell) and not isinstance(self.cell, ReferenceUnitCell):
            return sum(child.granularity for child in self.children) / len(self.children)
        return self.children[0].granularity

    @property
    def hides_state(self) -> bool:
        """Whether the weight only shows what the arrays hold, so that writing into it would be lost."""
        return not self._is_last or self.children[-1].hides_state

    @property
    def pulses(self) -> list[int]:
        """Up and down pulses of all arrays."""
        return [sum(child.pulses[side] for child in self.children) for side in (0, 1)]

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
        """Pulse the arrays that take the gradient, and transfer between arrays when it is time; see `DeviceArray`."""
        g = self.granularity if granularity is None else granularity
        if self._checked != (rule, lr, g):
            self.check_rate(rule, lr, g)
            self._checked = (rule, lr, g)
        if isinstance(self.cell, VectorUnitCell):
            chosen, following = self._chosen()
            for child in chosen:
                child.update(rule, x, d, lr, trains, granularity=g, rates=rates)
            self._counters[_CURRENT] = following
        elif isinstance(self.cell, OneSidedUnitCell):
            self._update_pair(rule, x, d, lr, trains, g, rates)
        else:
            at = trains.key, trains.step & STEP_MASK, trains.first_sample & STEP_MASK
            self._compound.step(rule, x, d, lr, self._fast_rate(rule, lr), *at, g, rates, self._periods(len(x)))
        self.steps["update"] += 1
        self._read_out()

    def check_rate(self, rule: PulseRule, lr: float, granularity: float | None = None) -> None:
        """Raise `ConfigError` if a learning rate asks more of any array than its pulses can give; see `DeviceArray`."""
        g = self.granularity if granularity is None else granularity
        if isinstance(self.cell, TransferCompound):
            self.children[0].check_rate(rule, self._fast_rate(rule, lr), g)
            for edge in self.edges:
                edge.check_rate(lr)
        else:
            for child in self.children:
                child.check_rate(rule, lr, g)

    def _chosen(self) -> tuple[list[Cells], int]:
        """The arrays that this call of the update pulses, and the current index after it."""
        assert isinstance(self.cell, VectorUnitCell)
        policy, n = self.cell.update_policy, len(self.children)
        current = following = int(self._counters[_CURRENT])
        if policy is VectorUnitCellUpdatePolicy.ALL:
            return self.children, following
        if policy is VectorUnitCellUpdatePolicy.SINGLE_SEQUENTIAL:
            following = (current + 1) % n
        elif policy is VectorUnitCellUpdatePolicy.SINGLE_RANDOM:
            draw = np.empty((1, 1), np.float32)
            _core.uniform(draw, 0.0, 1.0, self.key, int(Stream.CELL_POLICY), self.steps["update"] & STEP_MASK)
            current = following = min(int(draw[0, 0] * n), n - 1)
        return [self.children[current]], following

    def _fast_rate(self, rule: PulseRule, lr: float) -> float:
        """Learning rate of the fast array, before it follows the size of x and d."""
        cell = self.cell
        assert isinstance(cell, TransferCompound)
        if cell.fast_lr == 0.0:
            return lr
        rate = cell.fast_lr * (lr if cell.scale_fast_lr else math.copysign(1.0, lr))
        if isinstance(cell, ChoppedTransferCompound) and cell.auto_scale:
            rate *= rule.parameters.desired_bl * self.granularity
        return rate

    def _update_pair(
        self, rule: PulseRule, x: Float32, d: Float32, lr: float, trains: Trains, g: float, rates: Float32 | None
    ) -> None:
        """The update of a one-sided cell: up pulses of one array, down pulses of the other, and refreshes."""
        batch, start = len(x), 0
        samples, periods = int(self._counters[_SAMPLES]), self._periods(batch)
        while start < batch:
            stop = min([batch, *(start + period - samples % period for period in periods if period)])
            if stop - start == batch:
                self._pulse_pair(rule, x, d, lr, trains, g, rates)
            else:
                if start == 0 and self.space is HOST:  # later pulses would find what is not finite too late
                    state.check_samples(x, "x")
                    state.check_samples(d, "d")
                at = Trains(trains.key, trains.step, trains.first_sample + start)
                part_rates = None if rates is None else rates[start:stop]
                self._pulse_pair(rule, x[start:stop], d[start:stop], lr, at, g, part_rates)
            samples += stop - start
            for edge, period in zip(self.edges, periods, strict=True):
                if isinstance(edge, RefreshEdge) and period and samples % period == 0:
                    edge.refresh()
            start = stop
        self._counters[_SAMPLES] = samples

    def _pulse_pair(
        self, rule: PulseRule, x: Float32, d: Float32, lr: float, trains: Trains, g: float, rates: Float32 | None
    ) -> None:
        for k, drive in ((_PLUS, Drive.UP), (_MINUS, Drive.DOWN_AS_UP)):
            child = self.children[k]
            assert isinstance(child, DeviceArray)
            child.update(rule, x, d, lr, trains, granularity=g, rates=rates, drive=drive)

    def _periods(self, batch: int) -> list[int]:
        """The periods of the edges in samples, 0 for never, for update calls of ``batch`` samples."""
        if batch not in self._schedules:
            self._schedules[batch] = [edge.period(batch) for edge in self.edges]
        return self._schedules[batch]

    def fire(self, counts: Any, most: int = -1) -> None:
        """Fire given numbers of pulses; see `DeviceArray`."""
        if isinstance(self.cell, OneSidedUnitCell):
            counts = host(counts)
            self.children[_PLUS].fire(np.maximum(counts, 0), most)
            self.children[_MINUS].fire(np.maximum(-counts, 0), most)
        elif isinstance(self.cell, VectorUnitCell):
            chosen, following = self._chosen()
            for child in chosen:
                child.fire(counts, most)
            self._counters[_CURRENT] = following
        else:
            raise ConfigError("a compound takes gradients, not given numbers of pulses; wrap a device or a vector cell")
        self.steps["update"] += 1
        self._read_out()

    def _read_out(self) -> None:
        """The weight from the arrays."""
        if self._is_last:
            return
        edge = self.edges[0] if self.edges else None
        rows, columns = edge.signs() if isinstance(edge, TransferEdge) and edge.chopped else (None, None)
        first, *others = self.children
        self.space.combine(self.weight, first.weight, self.factors[0], rows=rows, columns=columns)
        for child, factor in zip(others, self.factors[1:], strict=True):
            self.space.combine(self.weight, child.weight, factor, adds=True)

    # -- weights and devices -----------------------------------------------------------------------------------------

    def set_weights(self, weights: Any) -> None:
        """Distribute weights over the arrays so that their sum is the weight, as far as the bounds allow."""
        weights = np.broadcast_to(np.asarray(weights, np.float32), self.weight.shape)
        if isinstance(self.cell, OneSidedUnitCell):
            self.children[_PLUS].set_weights(np.maximum(weights, 0.0))
            self.children[_MINUS].set_weights(np.maximum(-weights, 0.0))
        elif isinstance(self.cell, TransferCompound):
            for child in self.children[:-1]:
                child.set_weights(0.0)
            self.children[-1].set_weights(weights / np.float32(self.factors[-1]))
        else:
            self._set_vector(weights)
        self._counters[_SAMPLES] = 0
        for edge in self.edges:
            edge.restart()
        self._read_out()

    def _set_vector(self, weights: Float32) -> None:
        cell = self.cell
        assert isinstance(cell, VectorUnitCell)
        if cell.update_policy is VectorUnitCellUpdatePolicy.SINGLE_FIXED:
            current = int(self._counters[_CURRENT])
            factor = np.float32(self.factors[current])
            if current == cell.first_update_idx and factor != 0.0:
                others = self._sum_without(current)
                weights = (weights - others) / factor
            self.children[current].set_weights(weights)
            return
        self._counters[_CURRENT] = cell.first_update_idx
        total = np.float32(sum(self.factors))
        square = np.float32(sum(f * f for f in self.factors))
        for child, factor in zip(self.children, map(np.float32, self.factors), strict=True):
            child.set_weights(weights / total if total != 0.0 else weights * (factor / square))

    def _sum_without(self, left_out: int) -> Float32:
        total = np.zeros(self.weight.shape, np.float32)
        for k, (child, factor) in enumerate(zip(self.children, self.factors, strict=True)):
            if k != left_out:
                total += np.float32(factor) * child.weight
        return total

    @property
    def update_index(self) -> int:
        """The array that a single-device policy pulses next, and that `set_weights` writes with ``SINGLE_FIXED``."""
        return int(self._counters[_CURRENT])

    @update_index.setter
    def update_index(self, index: int) -> None:
        if not 0 <= index < len(self.children):
            raise ConfigError(f"the index of a device must lie in 0..{len(self.children) - 1}, not {index}")
        self._counters[_CURRENT] = index

    def hidden_parameters(self) -> Arrays:
        """Copies of the parameters and weights of all arrays, with the number of the array behind the name."""
        found: Arrays = {}
        for k, child in enumerate(self.children):
            found |= {f"{name}_{k}": values for name, values in child.hidden_parameters().items()}
            found[f"hidden_weights_{k}"] = host(child.weight).copy()
        for edge in self.edges:
            found |= edge.hidden_parameters()
        return found

    def set_hidden_parameters(self, parameters: Arrays) -> None:
        """Replace checked parameters and weights by name."""
        for k, child in enumerate(self.children):
            suffix = f"_{k}"
            own_names = child.hidden_parameters().keys()
            own = {n[: -len(suffix)]: v for n, v in parameters.items() if n[: -len(suffix)] + suffix == n}
            own = {name: values for name, values in own.items() if name in own_names}
            child.set_hidden_parameters(own)
            weight = parameters.get(f"hidden_weights{suffix}")
            if weight is not None and "persistent_weights" in own:  # what the array shows of the stored weights
                child.weight[...] = weight
            elif weight is not None and not any(name.startswith("hidden_weights") for name in own):
                child.set_weights(weight)
        for edge in self.edges:
            edge.set_hidden_parameters(parameters)
        self._read_out()

    # -- time --------------------------------------------------------------------------------------------------------

    def decay(self, alpha: float) -> None:
        """Let the weights of all arrays decay."""
        for child in self.children:
            child.decay(alpha)
        self._end_lifecycle()

    def diffuse(self) -> None:
        """Let the weights of all arrays diffuse."""
        for child in self.children:
            child.diffuse()
        self._end_lifecycle()

    def drift_for(self, delta_t: float) -> None:
        """Let the weights of all arrays drift."""
        for child in self.children:
            child.drift_for(delta_t)
        self._end_lifecycle()

    def reset(self, start_column: int, n_columns: int, prob: float) -> None:
        """Reset a window of columns: of all arrays, or of the fast one in a compound."""
        only_first = isinstance(self.cell, TransferCompound)
        for child in self.children[:1] if only_first else self.children:
            child.reset(start_column, n_columns, prob)
        self._end_lifecycle()

    def post_update_step(self) -> None:
        """Diffusion and decay of the arrays whose devices have them."""
        for child in self.children:
            child.post_update_step()
        self._read_out()

    def _end_lifecycle(self) -> None:
        self.steps["lifecycle"] += 1
        self._read_out()

    # -- state -------------------------------------------------------------------------------------------------------

    def _parts(self) -> list[tuple[str, Arrays]]:
        edges = [(f"transfer.{j}.", edge.held) for j, edge in enumerate(self.edges)]
        return [("graph.", self.held), *edges]

    def state(self) -> Arrays:
        """The arrays that are saved, not copied; the weight follows from the others."""
        saved: Arrays = {"weight": self.weight, **state.step_counters(self.steps)}
        for k, child in enumerate(self.children):
            saved |= {f"sub.{k}.{name}": values for name, values in child.state().items()}
        for prefix, arrays in self._parts():
            saved |= {prefix + name: values for name, values in arrays.items()}
        return saved

    def check_state(self, arrays: Arrays, prefix: str) -> None:
        """Raise `StateError` unless the arrays of this prefix are sound."""
        state.check_numbers(arrays[prefix + "weight"], self.weight.shape, prefix + "weight")
        for name in state.step_counters(self.steps):
            state.check_counts(arrays[prefix + name], (), prefix + name)
        for k, child in enumerate(self.children):
            child.check_state(arrays, f"{prefix}sub.{k}.")
        for part, own in self._parts():
            held.check(own, arrays, prefix + part)
        if not 0 <= arrays[prefix + "graph.counters"][_CURRENT] < len(self.children):
            raise StateError(f"{prefix}graph.counters in the state is damaged: there is no such device")

    def restore(self, arrays: Arrays, prefix: str) -> None:
        """Take checked arrays of this prefix verbatim."""
        self.steps |= {kind: int(arrays[f"{prefix}step.{kind}"]) for kind in self.steps}
        for k, child in enumerate(self.children):
            child.restore(arrays, f"{prefix}sub.{k}.")
        for part, own in self._parts():
            held.restore(own, arrays, prefix + part)
        for edge in self.edges:
            edge.resume()
        self._read_out()
