"""One array of devices: its weights, the parameters of each device, and what pulses and time do to them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import _core, state
from .arrays import Float32, blocks
from .config import Device, FloatingPointDevice, IdealDevice, PulsedDevice, PulseType, UpdateParameters
from .config.cells import BASE_FIELDS, cell_fields, ideal_fields
from .config.cells import granularity as nominal_step
from .errors import ConfigError
from .seeds import derive_seed

STEP_MASK = (1 << 32) - 1


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


class DeviceArray:
    """Weights [out, in] with one device at each crosspoint.

    Args:
        device: The device; it must be checked.
        weight: Float32 array that holds the weights, changed in place.
        seed: From which the key of all random numbers of this array follows.
        steps: Counters of update and lifecycle calls, advanced in place.

    Attributes:
        weight: The array given.
        granularity: Nominal weight change of one pulse, 0 without pulses.
        pulses: Up and down pulses fired so far.
        counts: Those of every crosspoint, int64 [2, out, in], if the device counts them.
    """

    def __init__(self, device: Device, weight: Float32, seed: int, steps: dict[str, int]) -> None:
        self.weight = weight
        self.steps = steps
        self.pulses = [0, 0]
        self.counts: NDArray[np.int64] | None = None
        self.set_seed(seed)
        self._set_device(device)
        fields = ideal_fields(self.device)
        if isinstance(self.device, PulsedDevice):
            fields = {
                name: np.empty(weight.shape if varies else (1, 1), np.float32)
                for name, varies in cell_fields(self.device).items()
            }
        self._borrow(fields)

    def _set_device(self, device: Device) -> None:
        device = device.resolved() if isinstance(device, PulsedDevice) else device
        self.device = device
        self.core_device = _core.Device(device) if isinstance(device, PulsedDevice) else None
        self.granularity: float = nominal_step(device)

    def _borrow(self, fields: dict[str, NDArray[Any]]) -> None:
        self.fields = fields
        names = list(fields)
        reference = names.index("reference") if "reference" in names else -1
        if not (isinstance(self.device, PulsedDevice) and self.device.count_pulses):
            self.counts = None
        elif self.counts is None:
            self.counts = np.zeros((2, *self.weight.shape), np.int64)
        self.cells = _core.Cells(self.weight, list(fields.values()), reference, self.counts)

    def set_seed(self, seed: int) -> None:
        """Take the key of another seed, without drawing anything."""
        self.seed, self.key = seed, derive_seed(seed)

    def draw(self) -> None:
        """Draw the device-to-device variation."""
        if self.core_device is not None:
            own = getattr(self.device, "construction_seed", 0)
            _core.populate(self.core_device, self.cells, derive_seed(own) if own else self.key)

    def reconfigure(self, device: Device) -> None:
        """Take another device with the parameters drawn for the present one.

        Raises:
            ConfigError: if the device needs parameters that were never drawn.
        """
        needed = set(cell_fields(device)) if isinstance(device, PulsedDevice) else set(BASE_FIELDS)
        if not needed <= set(self.fields):
            raise ConfigError("reconfigure cannot switch pulses on for a tile made without devices; make a new Tile")
        self._set_device(device)
        self._borrow(self.fields)

    # -- pulses ------------------------------------------------------------------------------------------------------

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
        """Change the weights towards W - lr d^T x.

        Args:
            rule: How the change becomes pulses.
            x: float32 [batch, in], or windows of a larger array: [..., *window] with as many elements.
            d: float32 [batch, out].
            lr: Learning rate; negative ascends.
            trains: Address of the pulse trains.
            granularity: Weight change that counts as one pulse; by default that of the device.
            rates: Factors on the learning rate of each sample, float32 [batch].
        """
        kind = rule.parameters.pulse_type
        if self.core_device is None or kind is PulseType.NONE:
            self._update_exactly(x, d if rates is None else d * rates[:, None], lr)
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
                rates,
            )
            self.pulses[0] += up
            self.pulses[1] += down
        self.steps["update"] += 1

    def _update_exactly(self, x: Float32, d: Float32, lr: float) -> None:
        if x.ndim == 2:
            _core.rank_update(self.weight, x, d, lr)
            return
        state.check_samples(x, "x")
        state.check_samples(d, "d")
        for windows, errors in blocks(x, d):
            _core.rank_update(self.weight, windows, errors, lr)

    # -- weights and devices -----------------------------------------------------------------------------------------

    def set_weights(self, weights: NDArray[Any] | float) -> None:
        """Write the weights, clipped to the bounds."""
        self.weight[...] = weights
        _core.clip(self.cells)

    def hidden_parameters(self) -> dict[str, NDArray[Any]]:
        """Copies of the per-device parameters, [out, in] each."""
        if not isinstance(self.device, PulsedDevice):
            return {}
        return {n: np.broadcast_to(self.fields[n], self.weight.shape).copy() for n in cell_fields(self.device)}

    def set_hidden_parameters(self, parameters: dict[str, NDArray[Any]]) -> None:
        """Replace checked per-device parameters and clip the weights."""
        fields = self.fields | parameters
        state.check_bounds(fields)
        self._borrow(fields)
        _core.clip(self.cells)

    # -- time --------------------------------------------------------------------------------------------------------

    def decay(self, alpha: float) -> None:
        """Let the weights decay towards their reset values."""
        _core.decay(self.cells, alpha)
        self.steps["lifecycle"] += 1

    def diffuse(self) -> None:
        """Add the diffusion noise of one call."""
        _core.diffuse(self.cells, self.key, self.steps["lifecycle"] & STEP_MASK)
        self.steps["lifecycle"] += 1

    def reset(self, start_column: int, n_columns: int, prob: float) -> None:
        """Reset the devices of a window of columns."""
        if isinstance(self.device, FloatingPointDevice):
            raise ConfigError("a FloatingPointDevice cannot be reset; use an IdealDevice or a pulsed device")
        step = self.steps["lifecycle"] & STEP_MASK
        _core.reset(self.cells, start_column, n_columns, prob, self.device.reset_std, self.key, step)
        self.steps["lifecycle"] += 1

    def post_update_step(self) -> None:
        """Diffusion, then decay, if the device has them."""
        if self.device.diffusion > 0.0:
            self.diffuse()
        if self.device.lifetime > 0.0:
            self.decay(1.0)

    # -- state -------------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, NDArray[Any]]:
        """The arrays that are saved, not copied."""
        fields = {f"cell.{name}": values for name, values in self.fields.items()}
        counts = {"pulses": np.array(self.pulses, np.int64)}
        if self.counts is not None:
            counts["pulses.cell"] = self.counts
        return {"weight": self.weight, **fields, **state.step_counters(self.steps), **counts}

    def check_state(self, arrays: dict[str, NDArray[Any]], prefix: str) -> None:
        """Raise `StateError` unless the arrays of this prefix are sound; `state` says which there must be."""
        shape = self.weight.shape
        for name in self.state():
            where = prefix + name
            if name == "pulses":
                state.check_integers(arrays[where], (2,), where)
            elif name == "pulses.cell":
                state.check_integers(arrays[where], (2, *shape), where)
            elif name.startswith("step."):
                state.check_integers(arrays[where], (), where)
            else:
                state.check_cells(arrays[where], shape, where, shared=name != "weight")
        state.check_bounds({name: arrays[f"{prefix}cell.{name}"] for name in ("min_bound", "max_bound")})

    def restore(self, arrays: dict[str, NDArray[Any]], prefix: str) -> None:
        """Take checked arrays of this prefix verbatim; the weights are written in place."""
        self.weight[...] = arrays[prefix + "weight"]
        self._borrow({name: arrays[f"{prefix}cell.{name}"].copy(order="C") for name in self.fields})
        self.steps |= {kind: int(arrays[f"{prefix}step.{kind}"]) for kind in self.steps}
        self.pulses = [int(n) for n in arrays[prefix + "pulses"]]
        if self.counts is not None:
            self.counts[...] = arrays[prefix + "pulses.cell"]


def device_below(device: Any, update: UpdateParameters) -> Any:
    """The device that is simulated: without pulses there is none, only the slow processes it has."""
    if update.pulse_type is PulseType.NONE and not isinstance(device, (FloatingPointDevice, IdealDevice)):
        kept = {name: getattr(device, name) for name in ("diffusion", "lifetime", "reset_std") if hasattr(device, name)}
        return IdealDevice(**kept)
    return device
