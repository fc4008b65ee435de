"""One array of devices: its weights, the parameters of each device, and what pulses and time do to them."""

from __future__ import annotations

import enum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import _core, state
from .arrays import Float32, blocks, empty_cells
from .config import Device, FloatingPointDevice, IdealDevice, PulsedDevice, PulseType, UpdateParameters
from .config.cells import BASE_FIELDS, cell_fields, ideal_fields, write_noise
from .config.cells import granularity as nominal_step
from .drift import Drift, parameters_of
from .errors import ConfigError
from .gpu import HOST, GpuArray, Space, host
from .seeds import derive_seed

STEP_MASK = (1 << 32) - 1
_LARGEST = 1e12  # squares of it, summed over thousands of pulses, stay finite


class Drive(enum.IntEnum):
    """Which of the pulses reach a device, the integer that the core sees."""

    BOTH = 0
    UP = 1  # those that raise the weight
    DOWN_AS_UP = 2  # those that lower it, turned around


class PulseRule:
    """Update parameters, and the form in which the core reads them."""

    def __init__(self, parameters: UpdateParameters) -> None:
        self.parameters = parameters
        self.spec = _core.UpdateSpec(parameters)


class Trains(NamedTuple):
    """Address of the pulse trains: arrays that are pulsed by the same lines share it."""

    key: int
    step: int
    first_sample: int


def check_range(fields: dict[str, NDArray[Any]]) -> None:
    """Raise `ConfigError` when pulses of such devices would leave the numbers of float32."""
    steps = max(_largest(values) for name, values in fields.items() if not name.endswith("_bound"))
    least = min(_least_above_zero(fields[name]) for name in ("max_bound", "min_bound"))
    if not (steps <= _LARGEST and steps / least <= _LARGEST):
        raise ConfigError(
            f"these parameters make devices with steps beyond {_LARGEST:g}, or that many bounds; lower them"
        )


def _largest(values: NDArray[Any]) -> float:
    """The largest absolute value."""
    return max(float(values.max()), -float(values.min()))


def _least_above_zero(values: NDArray[Any]) -> float:
    """The smallest absolute value but zero, infinity if all are zero."""
    low, high = float(values.min()), float(values.max())
    if low > 0.0 or high < 0.0:
        return min(abs(low), abs(high))
    sizes = np.abs(values)
    return float(sizes[sizes > 0.0].min(initial=np.inf))


class DeviceArray:
    """Weights [out, in] with one device at each crosspoint.

    Args:
        device: The device; it must be checked.
        weight: Float32 array that holds the weights, changed in place.
        seed: From which the key of all random numbers of this array follows.
        steps: Counters of update and lifecycle calls, advanced in place.

    Attributes:
        weight: The array given.
        space: Where all arrays lie.
        stored: The weights that pulses and time act on, float32 [out, in]: ``weight`` itself, or with write noise the
            persistent weights below it.
        drift: Drift of the stored weights; None without.
        granularity: Nominal weight change of one pulse, 0 without pulses.
        counts: Those of every crosspoint, int64 [2, out, in], if the device counts them.
    """

    def __init__(self, device: Device, weight: Float32, seed: int, steps: dict[str, int]) -> None:
        self.weight = weight
        self.steps = steps
        self.space: Space = HOST
        self._pulses = [0, 0]
        self._fired: Any = None  # pulses that a GPU has counted, [2]
        self.counts: NDArray[np.int64] | None = None
        self.set_seed(seed)
        self._set_device(device)
        self.stored: Float32 = empty_cells(weight.shape) if self.write_noise > 0.0 else weight
        law = parameters_of(self.device)
        self.drift = None if law is None else Drift(law, weight.shape)
        fields = ideal_fields(self.device)
        if isinstance(self.device, PulsedDevice):
            fields = {
                name: empty_cells(weight.shape if varies else (1, 1))
                for name, varies in cell_fields(self.device).items()
            }
        self._borrow(fields)

    def _set_device(self, device: Device) -> None:
        device = device.resolved() if isinstance(device, PulsedDevice) else device
        self.device = device
        self.core_device = _core.Device(device) if isinstance(device, PulsedDevice) else None
        self.granularity: float = nominal_step(device)
        self.write_noise = write_noise(device)

    def _borrow(self, fields: dict[str, NDArray[Any]]) -> None:
        self.fields = fields
        names = list(fields)
        reference = names.index("reference") if "reference" in names else -1
        if not (isinstance(self.device, PulsedDevice) and self.device.count_pulses):
            self.counts = None
        elif self.counts is None:
            self.counts = np.zeros((2, *self.weight.shape), np.int64)
        shown = self.weight if self.hides_state else None
        self.cells = _core.Cells(self.stored, list(fields.values()), reference, shown, self.write_noise, self.counts)

    def move(self, space: Space, weight: Any) -> None:
        """Hold all arrays in another space, where ``weight`` already holds the weights."""
        self._pulses = self.pulses
        self.stored = space.put(self.stored) if self.hides_state else weight
        self.weight, self.space = weight, space
        self._fired = None if space is HOST else space.put(np.zeros(2, np.int64))
        if self.drift is not None:
            self.drift.move(space)
        if self.counts is not None:
            self.counts = space.put(self.counts)
        self._borrow({name: space.put(values) for name, values in self.fields.items()})

    @property
    def pulses(self) -> list[int]:
        """Up and down pulses fired so far; on a GPU this waits for it."""
        counted = (0, 0) if self._fired is None else self._fired.numpy().tolist()
        return [known + new for known, new in zip(self._pulses, counted, strict=True)]

    @pulses.setter
    def pulses(self, pulses: list[int]) -> None:
        self._pulses = list(pulses)
        if self._fired is not None:
            self._fired[...] = 0

    @property
    def hides_state(self) -> bool:
        """Whether `weight` only shows what is stored elsewhere, so that writing into it would be lost."""
        return self.stored is not self.weight

    def set_seed(self, seed: int) -> None:
        """Take the key of another seed, without drawing anything."""
        self.seed, self.key = seed, derive_seed(seed)

    def draw(self, inherited_seed: int | None = None) -> None:
        """Draw the device-to-device variation: from the device's own seed, else an inherited one, else the tile's."""
        seed = getattr(self.device, "construction_seed", 0) or inherited_seed
        key = derive_seed(seed) if seed else self.key
        if self.core_device is not None:
            _core.populate(self.core_device, self.cells, key)
            check_range(self.fields)
        if self.drift is not None:
            self.drift.draw(self.cells, key)

    def reconfigure(self, device: Device) -> None:
        """Take another device with the parameters drawn for the present one.

        Raises:
            ConfigError: if the device needs parameters that were never drawn.
        """
        needed = set(cell_fields(device)) if isinstance(device, PulsedDevice) else set(BASE_FIELDS)
        if not needed <= set(self.fields):
            raise ConfigError("reconfigure cannot switch pulses on for a tile made without devices; make a new Tile")
        law = parameters_of(device)
        if (law is None) != (self.drift is None) or (write_noise(device) > 0.0) != self.hides_state:
            raise ConfigError("reconfigure cannot switch drift or write noise on or off; make a new Tile")
        self._set_device(device)
        if self.drift is not None and law is not None:
            self.drift.reconfigure(law)
        self._borrow(self.fields)

    # -- pulses ------------------------------------------------------------------------------------------------------

    def check_rate(self, rule: PulseRule, lr: float, granularity: float | None = None) -> None:
        """Raise `ConfigError` if a learning rate asks for longer trains than there are, whatever x and d.

        Args: as for `update`. Cells that consist of several arrays ask all of them before they change the first.
        """
        if self.core_device is not None:
            rule.spec.check_rate(abs(lr), self.granularity if granularity is None else granularity)

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
        drive: Drive = Drive.BOTH,
    ) -> None:
        """Change the weights towards W - lr d^T x.

        Args:
            rule: How the change becomes pulses.
            x: float32 [batch, in], or windows of a larger array: [..., *window] with as many elements.
            d: float32 [batch, out].
            lr: Learning rate; negative ascends.
            trains: Address of the pulse trains.
            granularity: Weight change that counts as one pulse; by default that of the device.
            rates: Factors on the learning rate of each sample, float32 [batch].
            drive: Which pulses reach the devices.
        """
        kind = rule.parameters.pulse_type
        if self.core_device is None or kind is PulseType.NONE:
            self._update_exactly(x, d if rates is None else self.space.scaled(d, rates), lr)
        else:
            up, down = _core.update(
                self.cells,
                self.core_device,
                rule.spec,
                x,
                d,
                lr,
                self.granularity if granularity is None else granularity,
                self.key,
                self.steps["update"] & STEP_MASK,
                trains.key,
                trains.step & STEP_MASK,
                trains.first_sample & STEP_MASK,
                None if rates is None else self.space.at(rates),
                0 if drive is Drive.BOTH else int(drive),
                0.0 if rates is None else float(rates.max(initial=0.0)),
                self._fired,
            )
            self._count_pulses(kind, up, down)
        self.steps["update"] += 1

    def prepare_update(self, rule: PulseRule, x: Float32, d: Float32, lr: float, trains: Trains) -> _core.Update | None:
        """The pulses of `update` as the core takes them, or None where there are none; `end_update` takes their number.

        Args: as for `update`, but x is no windows.
        """
        if self.core_device is None or rule.parameters.pulse_type is PulseType.NONE:
            return None
        return _core.Update(
            self.cells,
            self.core_device,
            rule.spec,
            x,
            d,
            lr,
            self.granularity,
            self.key,
            self.steps["update"] & STEP_MASK,
            trains.key,
            trains.step & STEP_MASK,
            trains.first_sample & STEP_MASK,
            counter=self._fired,
        )

    def end_update(self, rule: PulseRule, up: int, down: int) -> None:
        """Note what the pulses of `prepare_update` did."""
        self._count_pulses(rule.parameters.pulse_type, up, down)
        self.steps["update"] += 1

    def _count_pulses(self, kind: PulseType, up: int, down: int) -> None:
        self._pulses[0] += up
        self._pulses[1] += down
        if kind is PulseType.NONE_WITH_DEVICE:
            self._show()
        elif kind is PulseType.MEAN_FIELD and self.hides_state:
            self.weight[...] = self.stored  # the mean of what write noise shows

    def fire(self, counts: Any, most: int = -1) -> None:
        """Fire given numbers of pulses, positive ones up.

        Args:
            counts: The numbers, int32 [out, in] on the host, or where the array is.
            most: The largest magnitude or more; negative where it is not known, for numbers on the host.
        """
        assert self.core_device is not None  # only pulsed devices are parts of cells
        step = self.steps["update"] & STEP_MASK
        if most < 0 and self.space is not HOST:
            most = int(np.abs(counts.astype(np.int64)).max(initial=0))
        if most != 0:
            pulses: Any = counts if isinstance(counts, GpuArray) else self.space.at(counts)
            up, down = _core.fire(self.cells, self.core_device, pulses, self.key, step, most, self._fired)
            self._pulses[0] += up
            self._pulses[1] += down
        self.steps["update"] += 1

    def _update_exactly(self, x: Float32, d: Float32, lr: float) -> None:
        if x.ndim == 2:
            _core.rank_update(self.stored, x, d, lr)
            return
        state.check_samples(x, "x")
        state.check_samples(d, "d")
        for windows, errors in blocks(x, d):
            _core.rank_update(self.stored, windows, errors, lr)

    # -- weights and devices -----------------------------------------------------------------------------------------

    def set_weights(self, weights: NDArray[Any] | float) -> None:
        """Write the weights, clipped to the bounds; with write noise the stored ones, shown with fresh noise."""
        self.stored[...] = weights
        _core.clip(self.cells)
        if getattr(self.device, "apply_write_noise_on_set", True):
            self._show()
        else:
            self.weight[...] = self.stored

    def _show(self) -> None:
        """Let the array show every stored weight with fresh write noise, if the device has any."""
        if self.hides_state:
            _core.write(self.cells, self.key, self.steps["lifecycle"] & STEP_MASK)
            self.steps["lifecycle"] += 1

    def hidden_parameters(self) -> dict[str, NDArray[Any]]:
        """Copies of the per-device parameters, [out, in] each."""
        if not isinstance(self.device, PulsedDevice):
            return {}
        named: dict[str, Any] = {name: self.fields[name] for name in BASE_FIELDS}
        if self.drift is not None:
            named["drift_nu"] = self.drift.arrays["drift_nu"]
        if self.hides_state:
            named["persistent_weights"] = self.stored
        return {name: np.broadcast_to(host(v), self.weight.shape).copy() for name, v in (named | self.fields).items()}

    def set_hidden_parameters(self, parameters: dict[str, NDArray[Any]]) -> None:
        """Replace checked per-device parameters and clip the weights.

        With write noise, cells whose stored weight changes by that show it with fresh noise; the others stay.
        """
        fields = self.fields | {name: values for name, values in parameters.items() if name in self.fields}
        state.check_bounds(fields)
        stored, shown = self.stored.copy(), self.weight.copy()
        self.stored[...] = parameters.get("persistent_weights", stored)
        if self.drift is not None and "drift_nu" in parameters:
            self.drift.adopt(self.drift.arrays | {"drift_nu": parameters["drift_nu"]})
        self._borrow(fields)
        _core.clip(self.cells)
        self._show()
        if self.hides_state:
            np.copyto(self.weight, shown, where=self.stored == stored)

    # -- time --------------------------------------------------------------------------------------------------------

    def decay(self, alpha: float) -> None:
        """Let the weights decay towards their reset values; devices without pulses ignore a factor outside (0, 1)."""
        factor = 1.0 - alpha / self.device.lifetime if self.device.lifetime > 0.0 else 1.0
        if self.core_device is None and not 0.0 < factor < 1.0:
            return
        before = self._before()
        _core.decay(self.cells, alpha)
        self._end_lifecycle(before)

    def diffuse(self) -> None:
        """Add the diffusion noise of one call."""
        before = self._before()
        _core.diffuse(self.cells, self.key, self.steps["lifecycle"] & STEP_MASK)
        self._end_lifecycle(before)

    def drift_for(self, delta_t: float) -> None:
        """Let the weights drift for ``delta_t``, in the unit of ``t_0``; nothing happens without drift."""
        if self.drift is not None:
            self.drift(self.cells, delta_t, self.key, self.steps["lifecycle"] & STEP_MASK)
            self._end_lifecycle(None)

    def _before(self) -> Float32 | None:
        """The stored weights before a change that drift has to follow."""
        return None if self.drift is None else self.stored.copy()

    def _end_lifecycle(self, before: Float32 | None) -> None:
        if self.drift is not None and before is not None:
            self.drift.follow(self.cells, before)
        if self.hides_state:
            _core.write(self.cells, self.key, self.steps["lifecycle"] & STEP_MASK)
        self.steps["lifecycle"] += 1

    def reset(self, start_column: int, n_columns: int, prob: float) -> None:
        """Reset the devices of a window of columns."""
        if isinstance(self.device, FloatingPointDevice):
            raise ConfigError("a FloatingPointDevice cannot be reset; use an IdealDevice or a pulsed device")
        step = self.steps["lifecycle"] & STEP_MASK
        _core.reset(self.cells, start_column, n_columns, prob, self.device.reset_std, self.key, step)
        self._end_lifecycle(None)

    def reset_cells(self, chosen: NDArray[np.bool_]) -> None:
        """Reset the devices where ``chosen`` is true."""
        before = [(self.stored, host(self.stored).copy()), (self.weight, host(self.weight).copy())]
        self.reset(0, self.weight.shape[1], 1.0)
        for array, values in before:
            array[...] = np.where(chosen, host(array), values)

    def post_update_step(self) -> None:
        """Diffusion, then decay, if the device has them."""
        if self.device.diffusion > 0.0:
            self.diffuse()
        if self.device.lifetime > 0.0:
            self.decay(1.0)

    # -- state -------------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, NDArray[Any]]:
        """The arrays that are saved, not copied."""
        fields = {f"cell.{name}": values for name, values in (self.fields | self._memory()).items()}
        counts = {"pulses": np.array(self.pulses, np.int64)}
        if self.counts is not None:
            counts[state.COUNTS] = self.counts
        return {"weight": self.weight, **fields, **state.step_counters(self.steps), **counts}

    def _memory(self) -> dict[str, NDArray[Any]]:
        """What the cells hold beside their parameters and the visible weight."""
        stored = {"persistent_weights": self.stored} if self.hides_state else {}
        return stored | (self.drift.arrays if self.drift is not None else {})

    def check_state(self, arrays: dict[str, NDArray[Any]], prefix: str) -> None:
        """Raise `StateError` unless the arrays of this prefix are sound; `state` says which there must be."""
        shape = self.weight.shape
        for name in self.state():
            where = prefix + name
            if name == "pulses":
                state.check_counts(arrays[where], (2,), where)
            elif name == state.COUNTS:
                state.check_counts(arrays[where], (2, *shape), where)
            elif name.startswith("step."):
                state.check_counts(arrays[where], (), where)
            else:
                shared = name.removeprefix("cell.") in (*self.fields, "drift_nu")
                state.check_cells(arrays[where], shape, where, shared=shared)
        state.check_bounds({name: arrays[f"{prefix}cell.{name}"] for name in ("min_bound", "max_bound")})

    def restore(self, arrays: dict[str, NDArray[Any]], prefix: str) -> None:
        """Take checked arrays of this prefix verbatim; the weights are written in place."""
        self.weight[...] = arrays[prefix + "weight"]
        held = {n: self.space.put(arrays[f"{prefix}cell.{n}"]) for n in (self.fields | self._memory())}
        if self.hides_state:
            self.stored[...] = held["persistent_weights"]
        if self.drift is not None:
            self.drift.adopt({name: held[name] for name in self.drift.arrays})
        self._borrow({name: held[name] for name in self.fields})
        self.steps |= {kind: int(arrays[f"{prefix}step.{kind}"]) for kind in self.steps}
        self.pulses = [int(n) for n in arrays[prefix + "pulses"]]
        if self.counts is not None:
            self.counts[...] = arrays[prefix + state.COUNTS]


def device_below(device: Any, update: UpdateParameters) -> Any:
    """The device that is simulated: without pulses there is none, only the slow processes it has."""
    if update.pulse_type is PulseType.NONE and not isinstance(device, (FloatingPointDevice, IdealDevice)):
        kept = {
            name: getattr(device, name)
            for name in ("diffusion", "lifetime", "reset_std", "drift")
            if hasattr(device, name)
        }
        return IdealDevice(**kept)
    return device
