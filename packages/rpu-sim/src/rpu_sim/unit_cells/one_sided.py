"""One-sided cells: the refresh of pairs that have grown large on both sides, and mirror images of devices."""

from __future__ import annotations

import math

import numpy as np

from .. import periphery
from ..arrays import Float32
from ..config import OneSidedUnitCell, PulsedDevice
from ..device_array import STEP_MASK, DeviceArray, PulseRule, Trains
from ..errors import ConfigError
from ..gpu import HOST, Space, host
from ..seeds import derive_seed
from .protocol import Arrays, Cells

_MOST_SLOTS = 8192
_SIDES = ("minus", "plus")


class RefreshEdge:
    """The refresh of a pair of arrays."""

    def __init__(self, config: OneSidedUnitCell, minus: Cells, plus: Cells) -> None:
        assert isinstance(minus, DeviceArray)
        assert isinstance(plus, DeviceArray)
        self.config, self.pair = config, (minus, plus)
        out_size, in_size = minus.weight.shape
        self.held: Arrays = {"counters": np.zeros(1, np.int64)}
        shapes = periphery.buffer_shapes(config.refresh_forward, "forward", (out_size, in_size))
        for side in _SIDES:
            self.held |= {f"{side}.buffer.forward_{name}": np.zeros(n, np.float32) for name, n in shapes.items()}
        self.move(HOST)

    def move(self, space: Space) -> None:
        """Follow both arrays, which are in another space already."""
        self.space = space
        for name in self.held.keys() - {"counters"}:
            self.held[name] = space.put(self.held[name])
        self._products = [
            periphery.product(self.config.refresh_forward, "forward", array.weight, self._constants(side))
            for side, array in zip(_SIDES, self.pair, strict=True)
        ]
        self._unit_vectors: Float32 = np.eye(self.pair[0].weight.shape[1], dtype=np.float32)
        self._inputs = space.at(self._unit_vectors)

    def _constants(self, side: str) -> Arrays:
        start = f"{side}."
        return {name.removeprefix(start): values for name, values in self.held.items() if name.startswith(start)}

    def set_seed(self, seed: int) -> None:
        """Take the keys of another seed."""
        self.key = derive_seed(seed)
        self._keys = [derive_seed(seed, side) for side in ("minus", "plus")]

    def draw(self) -> None:
        """Draw the constants of the converters."""
        for product, key in zip(self._products, self._keys, strict=True):
            product.draw_constants(key)

    def period(self, batch: int) -> int:
        """Samples between two refreshes when an update call has ``batch`` samples."""
        return self.config.refresh_every * (batch if self.config.units_in_mbatch else 1)

    def resume(self) -> None:
        """Nothing follows from what is held."""

    def restart(self) -> None:
        """Nothing to begin again."""

    def hidden_parameters(self) -> Arrays:
        """A refresh has no matrices of its own."""
        return {}

    def set_hidden_parameters(self, parameters: Arrays) -> None:
        """Nothing to set."""

    def check_rate(self, lr: float) -> None:
        """A refresh makes its trains long enough."""

    def refresh(self) -> None:
        """Read both arrays, reset the pairs that need it, and write their differences back."""
        step = int(self.held["counters"][0])
        self.held["counters"][0] += 1
        minus, plus = (self._read(side, step) for side in (0, 1))
        top = [np.maximum(host(array.fields["max_bound"]), np.float32(1e-30)) for array in self.pair]
        low, high = sorted_shares(minus / top[0], plus / top[1])
        flagged = (high > self.config.refresh_upper_thres) & (low > self.config.refresh_lower_thres)
        if not flagged.any():
            return
        for array in self.pair:
            array.reset_cells(flagged)
        difference = np.where(flagged, plus - minus, np.float32(0.0))
        for k, values in ((1, difference), (0, -difference)):
            self._write(k, np.maximum(values, np.float32(0.0)), step)

    def _read(self, side: int, step: int) -> Float32:
        result = self.space.empty((self._inputs.shape[0], self.pair[side].weight.shape[0]))
        self._products[side](self._inputs, result, self._keys[side], step & STEP_MASK, 0)
        return host(result).T

    def _write(self, side: int, values: Float32, step: int) -> None:
        """Pulse an array up by ``values``; trains are made long enough for the largest."""
        array = self.pair[side]
        columns = np.flatnonzero(values.any(axis=0))
        if not columns.size:
            return
        parameters = self.config.refresh_update.mutable_copy()
        needed = math.ceil(float(values.max()) / array.granularity)
        parameters.desired_bl = min(max(parameters.desired_bl, needed), _MOST_SLOTS)
        x, d = (self.space.at(side) for side in (self._unit_vectors[columns], np.ascontiguousarray(values.T[columns])))
        array.update(PulseRule(parameters), x, d, -1.0, Trains(self._keys[side], step, 0))


def sorted_shares(a: Float32, b: Float32) -> tuple[Float32, Float32]:
    """The smaller and the larger of two arrays, element by element."""
    return np.minimum(a, b), np.maximum(a, b)


def mirrored(device: PulsedDevice) -> PulsedDevice:
    """The configuration of a device whose up is the down of ``device``, with all weights of the other sign."""
    device = device.resolved()
    twin = device.mutable_copy()
    for name in ("A", "gamma", "reverse", "piecewise", "pow_gamma", "step"):
        up, down = f"{name}_up", f"{name}_down"
        if hasattr(device, up):
            turned = [getattr(device, down), getattr(device, up)]
            if name == "piecewise":  # its nodes run from the lower to the upper bound
                turned = [list(reversed(nodes)) for nodes in turned]
            if (
                name == "step"
            ):  # so do the rows of a table, and the quantiles of a row from the least step to the largest
                turned = [tuple(tuple(-q for q in row[::-1]) for row in table[::-1]) for table in turned]
            setattr(twin, up, turned[0])
            setattr(twin, down, turned[1])
    if hasattr(device, "b"):
        twin.b = -device.b
    twin.w_max, twin.w_min = -device.w_min, -device.w_max
    return twin


def mirror(source: Cells, target: Cells) -> None:
    """Give ``target`` the mirror images of the devices of ``source``: up is down, and all weights change their sign."""
    assert isinstance(source, DeviceArray)
    fields = source.hidden_parameters()
    turned = {}
    for name, values in fields.items():
        if name == "max_bound":
            turned["min_bound"] = -values
        elif name == "min_bound":
            turned["max_bound"] = -values
        elif name in ("dwmin_up", "dwmin_down", "gamma_up", "gamma_down"):
            turned[_other_direction(name)] = values
        elif name in ("slope_up", "slope_down"):
            turned[_other_direction(name)] = -values
        elif name in ("reset_bias", "reference"):
            turned[name] = -values
        elif name in ("decay_scales", "diffusion_rates", "drift_nu"):
            turned[name] = values
        elif name != "persistent_weights":
            raise ConfigError(f"there is no mirror image of the device parameter {name}; set copy_inverted to False")
    target.set_hidden_parameters(turned)


def _other_direction(name: str) -> str:
    stem, _, direction = name.rpartition("_")
    return f"{stem}_{'down' if direction == 'up' else 'up'}"
