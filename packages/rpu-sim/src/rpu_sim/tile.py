"""A crossbar tile: weights, the devices that hold them, and the operations on them.

All state is a dict of named arrays owned by the caller's framework plus a seed and call counters; the compiled core
only borrows views.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from . import _core, periphery, state
from .arrays import (
    Array,
    Float32,
    as_numpy,
    blocks,
    framework_of,
    mark_written,
    returner,
    samples,
    samples_or_windows,
    state_array,
)
from .config import IdealDevice, PulsedDevice, PulseType, RPUConfig, RPUConfigBase, SingleRPUConfig, UpdateParameters
from .config.cells import BASE_FIELDS, cell_fields, granularity, ideal_fields
from .errors import ConfigError, ShapeError, StateError
from .seeds import derive_seed
from .streams import Stream

_STEP_MASK = (1 << 32) - 1


class PulseCounts(NamedTuple):
    """Pulses fired at the crosspoints of a tile since it was made."""

    up: int
    down: int


class Tile:
    """One crossbar array.

    Args:
        out_size: Number of rows (outputs).
        in_size: Number of columns (inputs).
        config: `SingleRPUConfig` (the default) or `FloatingPointRPUConfig`; the tile keeps a frozen deep copy.
        seed: Names the chip: device variation and every later random number follow from it.
        like: An array whose framework (NumPy or torch, on the CPU) holds the state.

    Attributes:
        weights: The array itself, float32 [out_size, in_size]. It may be changed in place.
        steps: Number of forward, backward, update and lifecycle calls so far; part of the address of a random number.

    Raises:
        ConfigError: for an impossible configuration.
        ShapeError: for sizes below 1.
    """

    def __init__(
        self, out_size: int, in_size: int, config: RPUConfig | None = None, *, seed: int = 0, like: Array = None
    ) -> None:
        self._configure(SingleRPUConfig() if config is None else config)
        for size in (out_size, in_size):
            if isinstance(size, bool) or not isinstance(size, int) or size < 1:
                raise ShapeError(f"a tile needs at least one row and one column, not {out_size} x {in_size}")
        if out_size * in_size >= 1 << 32:
            raise ShapeError("a tile has at most 2**32 - 1 cells; split the matrix over several tiles")
        self.seed = seed
        self._key = derive_seed(seed)
        self._framework = _state_framework(like)
        self.steps = {"forward": 0, "backward": 0, "update": 0, "lifecycle": 0}
        self._pulses = [0, 0]
        self._arrays: dict[str, Array] = {}
        self._populate(out_size, in_size)

    # -- construction ------------------------------------------------------------------------------------------------

    def _configure(self, config: RPUConfig) -> None:
        if not isinstance(config, RPUConfigBase):
            raise ConfigError(f"a tile needs an RPU configuration such as SingleRPUConfig, not {type(config).__name__}")
        frozen = config.frozen_copy()
        frozen.check()
        state.check_supported(frozen)
        self.rpu_config: Any = frozen
        self._update_parameters = getattr(frozen, "update", UpdateParameters())
        device = frozen.device
        if self._update_parameters.pulse_type is PulseType.NONE and isinstance(device, PulsedDevice):
            # Without pulses there is no device, only the slow processes it has.
            device = IdealDevice(diffusion=device.diffusion, lifetime=device.lifetime, reset_std=device.reset_std)
        self._device = device
        self._core_device = _core.Device(device) if isinstance(device, PulsedDevice) else None
        self._update_spec = _core.UpdateSpec(self._update_parameters)
        self._io = {"forward": periphery.io_of(frozen, "forward"), "backward": periphery.io_of(frozen, "backward")}
        self.granularity: float = granularity(device)

    def _populate(self, out_size: int, in_size: int) -> None:
        shape = (out_size, in_size)
        weights: Float32 = np.empty(shape, np.float32)
        fields = ideal_fields(self._device)
        if self._core_device is not None:
            fields = {
                name: np.empty(shape if varies else (1, 1), np.float32)
                for name, varies in cell_fields(self._device).items()
            }
        arrays = {"weight": weights, **{f"cell.{name}": values for name, values in fields.items()}}
        self._adopt(arrays | self._new_counts(shape) | self._new_buffers(out_size, in_size))
        for product in self._products.values():
            product.draw_constants(self._key)
        if self._core_device is not None:
            own = getattr(self._device, "construction_seed", 0)
            _core.populate(self._core_device, self._cells, derive_seed(own) if own else self._key)
        _core.uniform(weights, -0.1, 0.1, self._key, int(Stream.INITIAL_WEIGHTS))
        _core.clip(self._cells)

    def _new_counts(self, shape: tuple[int, int]) -> dict[str, NDArray[Any]]:
        counts = isinstance(self._device, PulsedDevice) and self._device.count_pulses
        return {state.COUNTS: np.zeros((2, *shape), np.int64)} if counts else {}

    def _new_buffers(self, out_size: int, in_size: int) -> dict[str, NDArray[Any]]:
        sizes = {"forward": out_size, "backward": in_size}
        return {
            f"buffer.{direction}_{name}": np.zeros(n, np.float32)
            for direction, io in self._io.items()
            for name, n in periphery.buffer_sizes(io, sizes[direction]).items()
        }

    def _adopt(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Take NumPy arrays as the state and let the core borrow them."""
        self._views = arrays
        self._arrays = {name: state_array(values, self._framework) for name, values in arrays.items()}
        fields = [values for name, values in arrays.items() if name.startswith("cell.")]
        self._cells = _core.Cells(arrays["weight"], fields, arrays.get(state.COUNTS))
        self._products = {
            direction: periphery.product(io, direction, arrays["weight"], arrays) for direction, io in self._io.items()
        }

    # -- properties --------------------------------------------------------------------------------------------------

    @property
    def weights(self) -> Array:
        """The weight array itself, float32 [out_size, in_size]."""
        return self._arrays["weight"]

    @property
    def out_size(self) -> int:
        return int(self._views["weight"].shape[0])

    @property
    def in_size(self) -> int:
        return int(self._views["weight"].shape[1])

    @property
    def pulse_counts(self) -> PulseCounts:
        """Pulses fired since the tile was made, summed over all crosspoints."""
        return PulseCounts(*self._pulses)

    def cell_pulse_counts(self) -> dict[str, Array]:
        """Pulses that each crosspoint got since the tile was made: ``"up"`` and ``"down"``, int64 [out_size, in_size].

        Raises:
            ConfigError: unless the device was made with ``count_pulses=True``.
        """
        if state.COUNTS not in self._views:
            raise ConfigError("pulses of single crosspoints are not counted; make the device with count_pulses=True")
        up, down = self._views[state.COUNTS].copy()
        return {"up": state_array(up, self._framework), "down": state_array(down, self._framework)}

    def __repr__(self) -> str:
        return f"Tile({self.out_size}, {self.in_size}, {self.rpu_config}, seed={self.seed})"

    # -- products ----------------------------------------------------------------------------------------------------

    def forward(self, x: Array, *, step: int | None = None, sample_offset: int = 0) -> Array:
        """The analog product y = W x.

        Args:
            x: float32 [..., in_size] of any framework on the CPU.
            step: Address of the noise; by default the next forward step of the tile, which then advances. An explicit
                step repeats the noise of that step and leaves the counter alone.
            sample_offset: Global index of the first sample, for batches that are split.

        Returns:
            float32 [..., out_size] in the framework of ``x``.
        """
        return self._product("forward", x, "x", self.in_size, self.out_size, step, sample_offset)

    def backward(self, d: Array, *, step: int | None = None, sample_offset: int = 0) -> Array:
        """The analog product with the transposed weights, from d [..., out_size] to [..., in_size]; see `forward`."""
        return self._product("backward", d, "d", self.out_size, self.in_size, step, sample_offset)

    def _product(
        self, direction: str, values: Array, name: str, width: int, outputs: int, step: int | None, sample_offset: int
    ) -> Array:
        view, leading = samples(values, width, name)
        result: Float32 = np.empty((view.shape[0], outputs), np.float32)
        at = self.steps[direction] if step is None else step
        self._products[direction](view, result, self._key, at & _STEP_MASK, sample_offset & _STEP_MASK)
        if step is None:
            self.steps[direction] = at + 1
        if type(values) is np.ndarray:
            return result if values.ndim == 2 else result.reshape(*leading, outputs)
        return returner(values)(result.reshape(*leading, outputs))

    # -- update ------------------------------------------------------------------------------------------------------

    def update(self, x: Array, d: Array, lr: float, *, sample_offset: int = 0) -> None:
        """Change the weights in place towards W - lr * sum over samples of d x^T, by pulses of the devices.

        Args:
            x: float32 [..., in_size], or [..., *window] with in_size elements in a window: a strided view, such as that
                of ``numpy.lib.stride_tricks.sliding_window_view`` or ``torch.Tensor.unfold``, is read in place, so
                that the overlapping patches of a convolution are never copied as a whole.
            d: float32 [..., out_size] with the same leading shape.
            lr: Learning rate; negative ascends, 0 does nothing.
            sample_offset: Global index of the first sample.

        Raises:
            NonFiniteError: if ``x``, ``d`` or ``lr`` is not finite; the weights are unchanged then.
        """
        d_view, leading = samples(d, self.out_size, "d")
        x_view = samples_or_windows(x, self.in_size, leading, "x")
        state.check_finite(lr, "lr")
        if lr == 0.0:
            return
        kind = self._update_parameters.pulse_type
        if self._core_device is None or kind is PulseType.NONE:
            self._rank_update(x_view, d_view, lr)
        else:
            up, down = _core.update(
                self._cells,
                self._core_device,
                self._update_spec,
                x_view,
                d_view,
                lr,
                self.granularity,
                self._key,
                self.steps["update"] & _STEP_MASK,
                sample_offset & _STEP_MASK,
            )
            self._pulses[0] += up
            self._pulses[1] += down
        self.steps["update"] += 1
        mark_written(self.weights)

    def _rank_update(self, x: Float32, d: Float32, lr: float) -> None:
        if x.ndim == 2:
            _core.rank_update(self._views["weight"], x, d, lr)
            return
        state.check_samples(x, "x")
        state.check_samples(d, "d")
        for windows, errors in blocks(x, d):
            _core.rank_update(self._views["weight"], windows, errors, lr)

    # -- weights and devices -------------------------------------------------------------------------------------------

    def get_weights(self) -> Array:
        """A copy of the weights."""
        return state_array(self._views["weight"].copy(), self._framework)

    def set_weights(self, weights: Array) -> None:
        """Set the weights, float32 [out_size, in_size], clipped to the bounds of the devices."""
        values = as_numpy(weights, "weights")
        state.check_array(values, self._views["weight"].shape, "weights")
        self._views["weight"][...] = values
        _core.clip(self._cells)
        mark_written(self.weights)

    def hidden_parameters(self) -> dict[str, Array]:
        """Per-device parameters by name, each a copy of shape [out_size, in_size]; empty for ideal devices."""
        if self._core_device is None:
            return {}
        shape = self._views["weight"].shape
        fields = {name: self._views[f"cell.{name}"] for name in cell_fields(self._device)}
        return {name: state_array(np.broadcast_to(v, shape).copy(), self._framework) for name, v in fields.items()}

    def set_hidden_parameters(self, parameters: dict[str, Array]) -> None:
        """Replace per-device parameters, by name; the weights are then clipped to the bounds.

        Raises:
            StateError: for a name that this device does not have.
        """
        known = cell_fields(self._device) if self._core_device is not None else {}
        arrays = dict(self._views)
        for name, values in parameters.items():
            if name not in known:
                raise StateError(f"the device has no hidden parameter '{name}'; it has {', '.join(known) or 'none'}")
            checked = as_numpy(values, name)
            state.check_array(checked, self._views["weight"].shape, name)
            arrays[f"cell.{name}"] = checked.copy(order="C")
        state.check_bounds(arrays)
        weights = self.weights
        self._adopt(arrays)
        self._arrays["weight"] = weights
        _core.clip(self._cells)
        mark_written(weights)

    def decay(self, alpha: float = 1.0) -> None:
        """Let every weight decay towards its reset value: w <- (w - b)(1 + alpha (delta - 1)) + b."""
        state.check_finite(alpha, "alpha")
        _core.decay(self._cells, alpha)
        self._end_lifecycle()

    def diffuse(self) -> None:
        """Add the diffusion noise of one call to every weight."""
        _core.diffuse(self._cells, self._key, self.steps["lifecycle"] & _STEP_MASK)
        self._end_lifecycle()

    def reset(self, start_column: int = 0, n_columns: int | None = None, prob: float = 1.0) -> None:
        """Reset the devices of a window of columns, each with probability ``prob``.

        Args:
            start_column: First column of the window, which wraps around.
            n_columns: Width of the window; None takes all columns.
            prob: Probability that a device is reset.
        """
        spread = getattr(self._device, "reset_std", None)
        if spread is None:
            raise ConfigError("a FloatingPointDevice cannot be reset; use an IdealDevice or a pulsed device")
        if not 0.0 <= prob <= 1.0:
            raise ConfigError(f"prob must lie in 0..1, not {prob}")
        columns = self.in_size if n_columns is None or n_columns < 0 else min(n_columns, self.in_size)
        step = self.steps["lifecycle"] & _STEP_MASK
        _core.reset(self._cells, start_column % self.in_size, columns, prob, spread, self._key, step)
        self._end_lifecycle()

    def post_update_step(self) -> None:
        """The physics of one training step: diffusion, then decay, if the devices have them."""
        if self._device.diffusion > 0.0:
            self.diffuse()
        if self._device.lifetime > 0.0:
            self.decay()

    def _end_lifecycle(self) -> None:
        self.steps["lifecycle"] += 1
        mark_written(self.weights)

    def reconfigure(self, **changes: Any) -> None:
        """Change fields of the configuration, for example ``reconfigure(forward=IOParameters(is_perfect=True))``.

        The drawn devices are kept, so the class of the device cannot change.
        """
        config = self.rpu_config.mutable_copy()
        for name, value in changes.items():
            setattr(config, name, value)
        if type(config.device) is not type(self.rpu_config.device):
            raise ConfigError("reconfigure keeps the drawn devices; make a new Tile for another device class")
        previous = self.rpu_config
        self._configure(config)
        if any(f"cell.{name}" not in self._views for name in self._field_names()):
            self._configure(previous)
            raise ConfigError("reconfigure cannot switch pulses on for a tile made without devices; make a new Tile")
        self._renew_buffers()

    def _renew_buffers(self) -> None:
        """Keep the constants of the periphery that the configuration still uses, draw those it newly needs."""
        fresh = self._new_buffers(self.out_size, self.in_size)
        cells = {name: values for name, values in self._views.items() if not name.startswith(("buffer.", "pulses."))}
        fresh |= self._new_counts((self.out_size, self.in_size))
        kept = {name: self._views[name] for name in fresh.keys() & self._views.keys()}
        weights = self.weights
        self._adopt(cells | fresh)
        self._arrays["weight"] = weights
        for product in self._products.values():
            product.draw_constants(self._key)
        for name, values in kept.items():
            self._views[name][...] = values

    def _field_names(self) -> list[str]:
        return list(cell_fields(self._device)) if self._core_device is not None else list(BASE_FIELDS)

    # -- state -------------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Array]:
        """A copy of the whole state as named arrays; a tile made from it continues bit for bit.

        Keys: ``weight``, ``cell.<name>``, ``buffer.<name>``, ``seed``, ``step.<kind>``, ``pulses``, ``meta`` (JSON as
        uint8) and, with ``count_pulses``, ``pulses.cell``.
        """
        arrays = {name: values.copy() for name, values in self._views.items()}
        arrays |= state.scalars(self.seed, self.steps, self._pulses)
        arrays["meta"] = state.encode_meta(self.rpu_config)
        return {name: state_array(values, self._framework) for name, values in arrays.items()}

    def load_state(self, saved: dict[str, Array]) -> None:
        """Take the state of ``saved`` verbatim, in place; the configuration of this tile stays.

        Raises:
            StateError: if something is missing, damaged or does not fit; this tile is unchanged then.
        """
        arrays = {name: as_numpy(values, name) for name, values in saved.items()}
        state.decode_meta(arrays)
        cells = {f"cell.{name}" for name in self._field_names()}
        buffers = {name: v.shape for name, v in self._new_buffers(self.out_size, self.in_size).items()}
        state.check_state(arrays, cells, buffers, self._views["weight"].shape, state.COUNTS in self._views)
        seed, steps, pulses = state.read_scalars(arrays)
        weights = self.weights
        self._views["weight"][...] = arrays["weight"]
        kept = {name: arrays[name].copy(order="C") for name in self._views if name != "weight"}
        self._adopt({"weight": self._views["weight"], **kept})
        self._arrays["weight"] = weights
        self.seed, self.steps, self._pulses = seed, steps, pulses
        self._key = derive_seed(seed)
        mark_written(weights)

    @classmethod
    def from_state(cls, saved: dict[str, Array], *, config: RPUConfig | None = None, like: Array = None) -> Self:
        """A tile that continues where ``saved`` was taken.

        Args:
            saved: What `state_dict` returned, from any framework.
            config: Configuration to use instead of the stored one; its device class must be the same.
            like: An array whose framework holds the state; by default that of ``saved``.
        """
        arrays = {name: as_numpy(values, name) for name, values in saved.items()}
        stored = state.decode_meta(arrays)
        if "weight" not in arrays or arrays["weight"].ndim != 2:
            raise StateError("the state has no weight matrix; save it again with Tile.state_dict()")
        out_size, in_size = (int(n) for n in arrays["weight"].shape)
        like = saved["weight"] if like is None else like
        tile = cls(out_size, in_size, stored if config is None else config, like=like)
        tile.load_state(arrays)
        return tile

    def __getstate__(self) -> dict[str, Any]:
        return self.state_dict()

    def __setstate__(self, saved: dict[str, Any]) -> None:
        self.__dict__.update(type(self).from_state(saved).__dict__)


def _state_framework(like: Array) -> str:
    if like is None:
        return "numpy"
    framework = framework_of(like)
    as_numpy(like, "like")
    return framework if framework == "torch" else "numpy"  # JAX arrays are read-only
