"""What a tile holds: how it is made, where it lies, and how it is saved.

All state is a dict of named arrays owned by the caller's framework plus a seed and call counters; the compiled core
only borrows views.
"""

from __future__ import annotations

import operator
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from . import _core, periphery, state
from .arrays import Array, Float32, as_numpy, empty_cells, framework_of, mark_written, state_array
from .config import RPUConfig, RPUConfigBase, SingleRPUConfig, UpdateParameters
from .device_array import PulseRule, device_below
from .errors import ConfigError, ShapeError, StateError
from .gpu import HOST, GpuArray, GpuSpace, Host, device_of, host, space
from .seeds import derive_seed
from .streams import Stream
from .unit_cells import Cells, make_cells
from .unwind import all_or_nothing


class TileState:
    """The state of a `Tile`; see there for its arguments and attributes."""

    def __init__(
        self,
        out_size: int,
        in_size: int,
        config: RPUConfig | None = None,
        *,
        seed: int = 0,
        like: Array = None,
        device: str | None = None,
    ) -> None:
        where = space(device_of(like) if device is None else device)
        self._space: Host | GpuSpace = HOST
        self._configure(SingleRPUConfig() if config is None else config)
        out_size, in_size = (_size(n) for n in (out_size, in_size))
        if out_size * in_size >= 1 << 32:
            raise ShapeError("a tile has at most 2**32 - 1 cells; split the matrix over several tiles")
        self._key = derive_seed(seed)
        self.seed = int(seed)
        self._framework = _state_framework(like)
        self.steps = {"forward": 0, "backward": 0, "update": 0, "lifecycle": 0}
        self._hold(empty_cells((out_size, in_size)))
        self._cells = self._make_cells()
        self._protect_shown_weights()
        self._adopt_buffers(self._new_buffers())
        for product in self._products.values():
            product.draw_constants(self._key)
        self._cells.draw()
        initial: Float32 = np.empty((out_size, in_size), np.float32)
        _core.uniform(initial, -0.1, 0.1, self._key, int(Stream.INITIAL_WEIGHTS))
        self._cells.set_weights(initial)
        self._move(where)

    # -- construction ------------------------------------------------------------------------------------------------

    def _configure(self, config: RPUConfig) -> None:
        if not isinstance(config, RPUConfigBase) or not hasattr(config, "device"):  # as that of an inference layer
            raise ConfigError(
                f"a tile needs an RPU configuration such as SingleRPUConfig, with a device, not {type(config).__name__}"
            )
        frozen = config.frozen_copy()
        frozen.check()
        self.rpu_config: Any = frozen
        self._rule = PulseRule(getattr(frozen, "update", UpdateParameters()))
        self._io = {"forward": periphery.io_of(frozen, "forward"), "backward": periphery.io_of(frozen, "backward")}

    def _hold(self, weight: Any) -> None:
        """Take the array that forward and backward read."""
        self._weight = weight
        self._weight_array = framework_array(weight, self._framework)

    def _protect_shown_weights(self) -> None:
        """Let nobody write into weights that only show what is stored."""
        if self._cells.hides_state and isinstance(self._weight_array, np.ndarray):
            self._weight_array = self._weight.view()
            self._weight_array.flags.writeable = False

    def _make_cells(self) -> Cells:
        device = device_below(self.rpu_config.device, self._rule.parameters)
        return make_cells(device, self._rule.parameters, self._weight, self.seed, self.steps)

    def _new_buffers(self) -> dict[str, NDArray[Any]]:
        return {
            f"buffer.{direction}_{name}": np.zeros(shape, np.float32)
            for direction, io in self._io.items()
            for name, shape in periphery.buffer_shapes(io, direction, (self.out_size, self.in_size)).items()
        }

    def _adopt_buffers(self, buffers: dict[str, Any]) -> None:
        """Take the constants of the periphery and let the core borrow them."""
        self._buffers = buffers
        self._products = {
            direction: periphery.product(io, direction, self._weight, buffers, self.rpu_config.mapping)
            for direction, io in self._io.items()
        }
        self._forward_tensor, self._backward_tensor = (
            _core.TensorProduct(self._products[direction], self._key, self.steps, direction)
            for direction in periphery.DIRECTIONS
        )

    def _renew_buffers(self) -> None:
        """Constants of the periphery follow from the seed and the new configuration; running means go on."""
        fresh = self._new_buffers()
        kept = {name: self._buffers[name] for name in fresh.keys() & self._buffers.keys() if "running_mean" in name}
        self._adopt_buffers(fresh)
        for product in self._products.values():
            product.draw_constants(self._key)
        for name, values in kept.items():
            self._buffers[name][...] = values

    # -- where the state is ------------------------------------------------------------------------------------------

    @property
    def device(self) -> str:
        """Where the state lies and calls compute: ``"cpu"`` or ``"cuda:<index>"``."""
        return self._space.name

    def to(self, device: str) -> Self:
        """Move the state, bit by bit, to ``"cpu"``, ``"cuda"`` or ``"cuda:<index>"``; arrays taken before stay behind.

        Raises:
            BackendError: when the device cannot be used, saying what to install, or has not the memory; the tile stays
                where it is, as a whole.
        """
        self._move(space(device))
        return self

    def cuda(self, index: int = 0) -> Self:
        """Move the state to a GPU; see `to`."""
        return self.to(f"cuda:{index}")

    def cpu(self) -> Self:
        """Move the state to the CPU; see `to`."""
        return self.to("cpu")

    def synchronize(self) -> None:
        """Wait for the GPU.

        Raises:
            NonFiniteError: if an input of any tile on it contained NaN or infinity since the last time. Calls on a GPU
                do not wait to find out: such samples leave the weights as they are, and give NaN.
        """
        if isinstance(self._space, GpuSpace):
            self._space.synchronize()

    def _move(self, where: Host | GpuSpace, weight: Any = None) -> None:
        """Move the state, the weights into the array ``weight`` if there is one."""
        if where is self._space:
            return
        with all_or_nothing(self):
            moved = where.put(self._weight) if weight is None else weight
            if weight is not None:
                weight[...] = self._weight
            self._space = where
            self._cells.move(where, moved)
            self._hold(moved)
            self._protect_shown_weights()
            self._adopt_buffers({name: where.put(values) for name, values in self._buffers.items()})

    @contextmanager
    def _on_host(self) -> Iterator[None]:
        """Let the state be on the host for what is rare; the weights return to their place on the GPU."""
        where, weight, shown = self._space, self._weight, self._weight_array
        if where is HOST:
            yield
            return
        self._move(HOST)
        try:
            yield
        finally:
            self._move(where, weight)
            self._weight_array = shown

    # -- what it holds -----------------------------------------------------------------------------------------------

    @property
    def weights(self) -> Array:
        """The weight array itself, float32 [out_size, in_size]; read-only where it follows from hidden weights."""
        return self._weight_array

    @weights.setter
    def weights(self, values: Array) -> None:
        if values is not self._weight_array:  # as `tile.weights += 1.0` gives it back
            raise ConfigError("weights is the array of the tile and cannot be replaced; write with set_weights()")

    @property
    def converter_arrays(self) -> dict[str, Array]:
        """The arrays that the converters keep, by their names in `state_dict`: views until the next `reconfigure`."""
        return {name: framework_array(values, self._framework) for name, values in self._buffers.items()}

    @property
    def hides_state(self) -> bool:
        """Whether the weights only show what the devices hold, so that a value written into them would be lost."""
        return self._cells.hides_state

    @property
    def out_size(self) -> int:
        return int(self._weight.shape[0])

    @property
    def in_size(self) -> int:
        return int(self._weight.shape[1])

    # -- saved state -------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Array]:
        """A copy of the whole state as named arrays on the CPU; a tile made from it continues bit for bit.

        Keys: ``weight``, ``cell.<name>``, ``buffer.<name>``, ``seed``, ``step.<kind>``, ``pulses``, ``meta`` (JSON as
        uint8) and, with ``count_pulses``, ``pulses.cell``.
        """
        arrays = {name: host(values).copy() for name, values in (self._cells.state() | self._buffers).items()}
        arrays |= {"seed": state.signed(self.seed), "meta": state.encode_meta(self.rpu_config)}
        return {name: state_array(values, self._framework) for name, values in arrays.items()}

    def load_state(self, saved: dict[str, Array]) -> None:
        """Take the state of ``saved`` verbatim, in place; the configuration of this tile stays.

        Raises:
            StateError: if something is missing, damaged or does not fit; this tile is unchanged then.
        """
        arrays = self._checked(saved)
        self.seed = int(arrays["seed"]) % (1 << 64)
        self._key = derive_seed(self.seed)
        self._cells.set_seed(self.seed)
        self._cells.restore(arrays, "")
        self._adopt_buffers({name: self._space.put(arrays[name]) for name in self._buffers})
        mark_written(self._weight_array)

    def check_state(self, saved: dict[str, Array]) -> None:
        """Raise the error that `load_state` would raise, if any; nothing is changed."""
        self._checked(saved)

    def _checked(self, saved: dict[str, Array]) -> dict[str, NDArray[Any]]:
        """Views of the arrays of a state that fits this tile."""
        arrays = state.as_arrays(saved)
        state.decode_meta(arrays)
        state.check_names(arrays, {"seed", "meta", *self._buffers, *self._cells.state()})
        state.check_integers(arrays["seed"], (), "seed")
        self._cells.check_state(arrays, "")
        for name, values in self._buffers.items():
            state.check_numbers(arrays[name], values.shape, name)
        return arrays

    @classmethod
    def from_state(
        cls,
        saved: dict[str, Array],
        *,
        config: RPUConfig | None = None,
        like: Array = None,
        device: str | None = None,
    ) -> Self:
        """A tile that continues where ``saved`` was taken.

        Args:
            saved: What `state_dict` returned, from any framework.
            config: Configuration to use instead of the stored one; its device class must be the same.
            like: An array whose framework holds the state; by default that of ``saved``.
            device: As for a new tile.
        """
        arrays = state.as_arrays(saved)
        stored = state.decode_meta(arrays)
        if "weight" not in arrays or arrays["weight"].ndim != 2:
            raise StateError("the state has no weight matrix; save it again with Tile.state_dict()")
        out_size, in_size = (int(n) for n in arrays["weight"].shape)
        like = saved["weight"] if like is None else like
        tile = cls(out_size, in_size, stored if config is None else config, like=like, device=device)
        tile.load_state(arrays)
        return tile

    def __getstate__(self) -> dict[str, Any]:
        # The configuration goes along as an object: its plain form lacks the classes of a frontend.
        return {"state": self.state_dict(), "config": self.rpu_config, "device": self.device}

    def __setstate__(self, saved: dict[str, Any]) -> None:
        device = saved.get("device", "cpu")
        made = type(self).from_state(saved["state"], config=saved["config"], device=device)
        self.__dict__.update(made.__dict__)


def _size(n: Any) -> int:
    """Rows or columns of a tile; NumPy integers are integers too."""
    try:
        size = operator.index(n)
    except TypeError:
        raise ShapeError(f"the size of a tile must be an integer, not {n!r}") from None
    if isinstance(n, bool) or size < 1:
        raise ShapeError(f"a tile needs at least one row and one column, not {n!r}")
    return size


def framework_array(values: Any, framework: str) -> Array:
    """An array that holds state, as the framework sees it."""
    if isinstance(values, GpuArray):
        return sys.modules["torch"].from_dlpack(values) if framework == "torch" else values
    return state_array(values, framework)


def _state_framework(like: Array) -> str:
    if like is None:
        return "numpy"
    framework = framework_of(like)
    if device_of(like) == "cpu":
        as_numpy(like, "like")
    return framework if framework == "torch" else "numpy"  # JAX arrays are read-only
