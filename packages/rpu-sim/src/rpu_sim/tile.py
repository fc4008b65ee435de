"""A crossbar tile: weights, the devices that hold them, and the operations on them.

All state is a dict of named arrays owned by the caller's framework plus a seed and call counters; the compiled core
only borrows views.
"""

from __future__ import annotations

import operator
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from . import _core, periphery, programming, state
from .arrays import (
    FLOAT32,
    Array,
    Float32,
    as_numpy,
    empty_cells,
    framework_of,
    mark_written,
    samples,
    state_array,
)
from .config import RPUConfig, RPUConfigBase, SingleRPUConfig, UpdateParameters
from .device_array import STEP_MASK, DeviceArray, PulseRule, Trains, device_below
from .errors import ConfigError, DeviceError, DtypeError, RpuError, ShapeError, StateError
from .gpu import HOST, GpuArray, GpuSpace, Host, device_of, host, space
from .seeds import derive_seed
from .streams import Stream
from .unit_cells import CellGraph, Cells, make_cells
from .unwind import all_or_nothing


class PulseCounts(NamedTuple):
    """Pulses fired at the crosspoints of a tile since it was made."""

    up: int
    down: int


class Tile:
    """One crossbar array.

    Threads may use different tiles at the same time, but one tile only in turn: calls count, and the count is the
    address of their noise.

    Args:
        out_size: Number of rows (outputs).
        in_size: Number of columns (inputs).
        config: `SingleRPUConfig` (the default) or `FloatingPointRPUConfig`; the tile keeps a frozen deep copy.
        seed: Names the chip: device variation and every later random number follow from it.
        like: An array whose framework (NumPy or torch) holds the state. On a GPU that of NumPy is a `GpuArray`.
        device: Where the state lies and calls compute: ``"cpu"``, ``"cuda"`` or ``"cuda:<index>"``; None takes that of
            ``like``. All give the same bits, but where `reproducibility` of the documentation says otherwise.

    Attributes:
        weights: The array itself, float32 [out_size, in_size]. It may be changed in place, unless the device has write
            noise: then it only shows the stored weights, and `set_weights` writes. As a NumPy array it is read-only
            then; PyTorch has no such tensors.
        steps: Number of forward, backward, update and lifecycle calls so far; part of the address of a random number.

    Raises:
        BackendError: for a device that this machine cannot use, saying what to install.
        ConfigError: for an impossible configuration.
        ShapeError: for sizes below 1.
    """

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
        self._weight_array = _state_array(weight, self._framework)

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

    # -- properties --------------------------------------------------------------------------------------------------

    @property
    def weights(self) -> Array:
        """The weight array itself, float32 [out_size, in_size]; read-only where it follows from hidden weights."""
        return self._weight_array

    @property
    def converter_arrays(self) -> dict[str, Array]:
        """The arrays that the converters keep, by their names in `state_dict`: views until the next `reconfigure`."""
        return {name: _state_array(values, self._framework) for name, values in self._buffers.items()}

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

    @property
    def hidden_update_index(self) -> int:
        """The device of a vector or reference cell that is pulsed, and written by `set_weights` with ``SINGLE_FIXED``.

        While it is not ``first_update_idx``, `set_weights` writes that device itself, for example a reference.

        Raises:
            ConfigError: when it is read or set on a tile whose cells have one device.
        """
        return self._graph().update_index

    @hidden_update_index.setter
    def hidden_update_index(self, index: int) -> None:
        self._graph().update_index = state.integer(index, "the index of a device")

    def _graph(self) -> CellGraph:
        if not isinstance(self._cells, CellGraph):
            raise ConfigError("this tile has one device per crosspoint; a hidden update index belongs to vector cells")
        return self._cells

    @property
    def granularity(self) -> float:
        """Nominal weight change of one pulse; 0 for devices without pulses."""
        return self._cells.granularity

    @property
    def pulse_counts(self) -> PulseCounts:
        """Pulses fired since the tile was made, summed over all crosspoints."""
        return PulseCounts(*self._cells.pulses)

    def cell_pulse_counts(self) -> dict[str, Array]:
        """Pulses that each crosspoint got since the tile was made: ``"up"`` and ``"down"``, int64 [out_size, in_size].

        For cells of several devices, a pair for each device that counts, below the name it has in `state_dict`.

        Raises:
            ConfigError: unless the device was made with ``count_pulses=True``.
        """
        held = self._cells.state()
        counts = {}
        for name in (name for name in held if name.endswith(state.COUNTS)):
            for direction, values in zip(("up", "down"), host(held[name]).copy(), strict=True):
                counts[name.removesuffix(state.COUNTS) + direction] = state_array(values, self._framework)
        if not counts:
            raise ConfigError("pulses of single crosspoints are not counted; make the device with count_pulses=True")
        return counts

    def __repr__(self) -> str:
        return f"Tile({self.out_size}, {self.in_size}, {self.rpu_config}, seed={self.seed})"

    # -- products ----------------------------------------------------------------------------------------------------

    def forward(self, x: Array, *, step: int | None = None, sample_offset: int = 0, evaluate: bool = False) -> Array:
        """The analog product y = W x.

        Args:
            x: float32 [..., in_size] of any framework on the CPU; of torch or CuPy on the GPU, or a `GpuArray`, for a
                tile that is there, also in half precision, which is converted to float32 and the result back.
            step: Address of the noise; by default the next forward step of the tile, which then advances. An explicit
                step repeats the noise of that step and leaves the counter alone.
            sample_offset: Global index of the first sample, for batches that are split.
            evaluate: Leave the running mean of ``AVERAGE_ABS_MAX`` as it is; all other effects are the same.

        Returns:
            float32 [..., out_size] in the framework of ``x``.
        """
        outputs, inputs = self._weight.shape
        return self._product("forward", x, "x", inputs, outputs, step, sample_offset, evaluate)

    def backward(self, d: Array, *, step: int | None = None, sample_offset: int = 0, evaluate: bool = False) -> Array:
        """The analog product with the transposed weights, from d [..., out_size] to [..., in_size]; see `forward`."""
        inputs, outputs = self._weight.shape
        return self._product("backward", d, "d", inputs, outputs, step, sample_offset, evaluate)

    def _product(
        self,
        direction: str,
        values: Array,
        name: str,
        width: int,
        outputs: int,
        step: int | None,
        sample_offset: int,
        evaluate: bool,
    ) -> Array:
        result: Any
        if self._space is HOST:  # without the steps of other spaces, a good part of a small product
            view, leading = samples(values, width, name)
            result = np.empty((view.shape[0], outputs), FLOAT32)
        else:
            view, leading = self._space.samples(values, width, name)
            result = self._space.result(view, (int(view.shape[0]), outputs))
        at = self.steps[direction] if step is None else state.integer(step, "step")
        first = state.integer(sample_offset, "sample_offset")
        self._products[direction](view, result, self._key, at & STEP_MASK, first & STEP_MASK, bool(evaluate))
        if step is None:
            self.steps[direction] = at + 1
        if len(leading) != 1:
            result = result.reshape(*leading, outputs)
        return result if type(values) is np.ndarray else self._space.returned(result, values)

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
            NonFiniteError: if ``x``, ``d`` or ``lr`` is not finite; the weights are unchanged then. On a GPU see
                `synchronize`.
        """
        d_view, leading = self._space.samples(d, self.out_size, "d")
        x_view = self._space.windows(x, self.in_size, leading, "x")
        if x_view.ndim > 2 and not isinstance(self._cells, DeviceArray):  # cells cut a batch where they transfer
            x_view = np.ascontiguousarray(x_view).reshape(-1, self.in_size)
        state.check_finite(lr, "lr")
        if lr == 0.0:
            return
        first = state.integer(sample_offset, "sample_offset")
        self._cells.update(self._rule, x_view, d_view, lr, Trains(self._key, self.steps["update"], first))
        mark_written(self._weight_array)

    # -- weights and devices -------------------------------------------------------------------------------------------

    def get_weights(self) -> Array:
        """A copy of the weights."""
        return _state_array(self._weight.copy(), self._framework)

    def set_weights(self, weights: Array) -> None:
        """Set the weights, float32 [out_size, in_size] on any device, clipped to the bounds of the devices."""
        values = host(weights, "weights")
        state.check_array(values, self._weight.shape, "weights")
        if isinstance(self._cells, DeviceArray):
            self._cells.set_weights(values)
        else:  # graphs distribute weights over their arrays with NumPy
            with self._on_host():
                self._cells.set_weights(values)
        mark_written(self._weight_array)

    def hold_weights_in(self, array: Array) -> None:
        """Keep the weights in ``array`` from now on, for example in shared memory; their values move there.

        Args:
            array: float32 [out_size, in_size], C-contiguous and writeable, of the framework that holds the state and
                without gradient.

        Raises:
            DtypeError, ShapeError: for another array; the tile is unchanged then. What it held does not matter.
        """
        if self._space is not HOST:
            raise DeviceError(f"this tile is on {self.device}; only weights on the CPU can be held elsewhere")
        if framework_of(array) != self._framework:
            raise DtypeError(f"array is of {framework_of(array)} but {self._framework} holds the state of this tile")
        if getattr(array, "requires_grad", False):
            raise DtypeError("array requires a gradient, which weights that pulses change cannot have; detach it")
        values = as_numpy(array, "array")
        state.check_form(values, self._weight.shape, "array")
        if not (values.flags.c_contiguous and values.flags.writeable):
            raise ShapeError("array must be C-contiguous and writeable; make it with numpy.empty or torch.empty")
        held = {name: v.copy() for name, v in self._cells.state().items()}
        values[...] = self._weight
        self._weight, self._weight_array = values, array
        self._cells = self._make_cells()
        self._cells.restore(held, "")
        self._adopt_buffers(self._buffers)

    def read_weights(self, x_values: Array = None, *, over_sampling: int = 10) -> Array:
        """An estimate of the weights from noisy products, by least squares.

        It is unbiased except for clipped outputs. Where every output has noise of standard deviation s, the estimates
        have s / sqrt(n - in_size - 1) after n standard normal vectors.

        Args:
            x_values: float32 [n, in_size], vectors that span the inputs; None takes standard normal ones.
            over_sampling: Number of those vectors per input.

        Returns:
            float32 [out_size, in_size] in the framework of the tile. The call counts as one forward call and leaves no
            other trace. NumPy's LAPACK solves the fit, so other machines may round it differently.

        Raises:
            ShapeError: if ``x_values`` does not span the inputs.
        """
        with self._on_host():
            estimate = programming.read_weights(self, x_values, over_sampling=over_sampling)
        return self._returned(estimate)

    def _returned(self, values: Array) -> Array:
        """An array of the host where the state is, in the framework that holds it."""
        if self._space is HOST:
            return values
        return _state_array(self._space.put(as_numpy(values)), self._framework)

    def program_weights(
        self,
        target: Array = None,
        x_values: Array = None,
        *,
        learning_rate: float = 0.1,
        max_iter: int = 10_000,
        tolerance: float = 0.01,
        w_init: float | Array = 0.01,
        progress: bool = False,
    ) -> programming.ProgrammingResult:
        """Bring the weights to a target with products and pulses in a closed loop, as one programs hardware.

        Each round compares the outputs for ``x_values`` with those of the target and updates with the difference, until
        the mean absolute difference is below ``tolerance`` times the largest target output. With noise of standard
        deviation s in every output, unit vectors and learning rate lr the weights end up scattered by about
        s sqrt(lr / (2 - lr)), plus what pulses of finite size add.

        Args:
            target: float32 [out_size, in_size]; None takes the present weights.
            x_values: float32 [n, in_size]; None takes the unit vectors.
            learning_rate: Of the updates.
            max_iter: Largest number of updates.
            tolerance: See above. Below the noise of an output it is never reached.
            w_init: Weights to begin with, or the bound of uniform random ones.
            progress: Show a progress bar, which needs tqdm.

        Returns:
            The number of updates, the last relative error, and whether it is below the tolerance.

        Raises:
            NonFiniteError, ShapeError, ConfigError: for bad arguments; the weights are unchanged then.
        """
        with self._on_host():
            return programming.program_weights(
                self,
                target,
                x_values,
                learning_rate=learning_rate,
                max_iter=max_iter,
                tolerance=tolerance,
                w_init=w_init,
                progress=progress,
            )

    def hidden_parameters(self) -> dict[str, Array]:
        """Per-device parameters by name, each a copy of shape [out_size, in_size]; empty for ideal devices."""
        return {
            name: self._returned(state_array(v, self._framework)) for name, v in self._cells.hidden_parameters().items()
        }

    def set_hidden_parameters(self, parameters: dict[str, Array]) -> None:
        """Replace per-device parameters, by name; the weights are then clipped to the bounds.

        Raises:
            StateError: for a name that this device does not have, or for anything but a dict.
        """
        if not isinstance(parameters, dict):
            raise StateError(f"hidden parameters are a dict of arrays by name, not {type(parameters).__name__}")
        known = self._cells.hidden_parameters()
        checked = {}
        for name, values in parameters.items():
            if name not in known:
                raise StateError(f"the device has no hidden parameter '{name}'; it has {', '.join(known) or 'none'}")
            view = host(values, name)
            state.check_array(view, self._weight.shape, name)
            checked[name] = view.copy(order="C")
        with self._on_host():
            self._cells.set_hidden_parameters(checked)
        mark_written(self._weight_array)

    def decay(self, alpha: float = 1.0) -> None:
        """Let every weight decay towards its reset value: w <- (w - b)(1 + alpha (delta - 1)) + b."""
        state.check_finite(alpha, "alpha")
        self._cells.decay(alpha)
        mark_written(self._weight_array)

    def diffuse(self) -> None:
        """Add the diffusion noise of one call to every weight."""
        self._cells.diffuse()
        mark_written(self._weight_array)

    def drift(self, delta_t: float) -> None:
        """Let every weight drift for ``delta_t`` seconds, if the device drifts (``drift.nu`` above 0).

        Cells that were written since the last call keep their weight, and their clock starts now.
        """
        state.check_finite(delta_t, "delta_t")
        if delta_t < 0.0:
            raise ConfigError(f"delta_t is {delta_t}; time does not run backwards")
        self._cells.drift_for(delta_t)
        mark_written(self._weight_array)

    def reset(self, start_column: int = 0, n_columns: int | None = None, prob: float = 1.0) -> None:
        """Reset the devices of a window of columns, each with probability ``prob``.

        Args:
            start_column: First column of the window, which wraps around.
            n_columns: Width of the window; None takes all columns.
            prob: Probability that a device is reset.
        """
        if not isinstance(prob, (int, float)) or not 0.0 <= prob <= 1.0:
            raise ConfigError(f"prob must lie in 0..1, not {prob}")
        first = state.integer(start_column, "start_column") % self.in_size
        wide = self.in_size if n_columns is None else state.integer(n_columns, "n_columns")
        self._cells.reset(first, self.in_size if wide < 0 else min(wide, self.in_size), prob)
        mark_written(self._weight_array)

    def post_update_step(self) -> None:
        """The physics of one training step: diffusion, then decay, if the devices have them."""
        self._cells.post_update_step()
        mark_written(self._weight_array)

    def reconfigure(self, **changes: Any) -> None:
        """Change fields of the configuration, for example ``reconfigure(forward=IOParameters(is_perfect=True))``.

        The drawn devices are kept, so the class of the device cannot change.
        """
        config = self.rpu_config.mutable_copy()
        for name, value in changes.items():
            setattr(config, name, value)
        if type(config.device) is not type(self.rpu_config.device):
            raise ConfigError("reconfigure keeps the drawn devices; make a new Tile for another device class")
        with self._on_host():
            self._reconfigure(config)

    def _reconfigure(self, config: Any) -> None:
        previous = self.rpu_config
        self._configure(config)
        try:
            self._cells.reconfigure(device_below(self.rpu_config.device, self._rule.parameters))
        except RpuError:
            self._configure(previous)
            raise
        self._renew_buffers()

    def _renew_buffers(self) -> None:
        """Constants of the periphery follow from the seed and the new configuration; running means go on."""
        fresh = self._new_buffers()
        kept = {name: self._buffers[name] for name in fresh.keys() & self._buffers.keys() if "running_mean" in name}
        self._adopt_buffers(fresh)
        for product in self._products.values():
            product.draw_constants(self._key)
        for name, values in kept.items():
            self._buffers[name][...] = values

    # -- state -------------------------------------------------------------------------------------------------------

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


def _state_array(values: Any, framework: str) -> Array:
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
