"""A crossbar tile: the operations on its weights and on the devices that hold them."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from . import _core, programming, state
from .arrays import FLOAT32, Array, as_numpy, framework_of, mark_written, samples, state_array
from .device_array import STEP_MASK, DeviceArray, Trains, device_below
from .errors import ConfigError, DeviceError, DtypeError, RpuError, ShapeError, StateError
from .gpu import HOST, host
from .tile_state import TileState, framework_array
from .unit_cells import CellGraph
from .windows import copy_windows


class PulseCounts(NamedTuple):
    """Pulses fired at the crosspoints of a tile since it was made."""

    up: int
    down: int


class Tile(TileState):
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

    # -- properties --------------------------------------------------------------------------------------------------

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

    def forward(
        self,
        x: Array,
        *,
        step: int | None = None,
        sample_offset: int = 0,
        evaluate: bool = False,
        window_axes: int = 1,
    ) -> Array:
        """The analog product y = W x.

        Args:
            x: float32 [..., in_size] of any framework on the CPU; of torch or CuPy on the GPU, or a `GpuArray`, for a
                tile that is there, also in half precision, which is converted to float32 and the result back.
            step: Address of the noise; by default the next forward step of the tile, which then advances. An explicit
                step repeats the noise of that step and leaves the counter alone.
            sample_offset: Global index of the first sample, for batches that are split.
            evaluate: Leave the running mean of ``AVERAGE_ABS_MAX`` as it is; all other effects are the same.
            window_axes: Number of the last axes of ``x`` that make a sample, with in_size elements: with more than one,
                windows of a larger array are read in place, as in `update`.

        Returns:
            float32 [..., out_size] in the framework of ``x``.
        """
        if window_axes != 1:
            return self._product_of_windows(x, window_axes, step, sample_offset, evaluate)
        if type(sample_offset) is int and sample_offset == 0:
            result = self._forward_tensor(x, step, bool(evaluate))
            if result is not None:
                return result
        return self._product("forward", x, step, sample_offset, evaluate)

    def backward(self, d: Array, *, step: int | None = None, sample_offset: int = 0, evaluate: bool = False) -> Array:
        """The analog product with the transposed weights, from d [..., out_size] to [..., in_size]; see `forward`."""
        if type(sample_offset) is int and sample_offset == 0:
            result = self._backward_tensor(d, step, bool(evaluate))
            if result is not None:
                return result
        return self._product("backward", d, step, sample_offset, evaluate)

    def _product(self, direction: str, values: Array, step: int | None, sample_offset: int, evaluate: bool) -> Array:
        outputs, inputs = self._weight.shape
        name = "x"
        if direction == "backward":
            outputs, inputs, name = inputs, outputs, "d"
        result: Any
        if self._space is HOST:  # without the steps of other spaces, a good part of a small product
            view, leading = samples(values, inputs, name)
            result = np.empty((view.shape[0], outputs), FLOAT32)
        else:
            view, leading = self._space.samples(values, inputs, name)
            result = self._space.result(view, (int(view.shape[0]), outputs))
        at = self.steps[direction] if step is None else state.integer(step, "step")
        first = state.integer(sample_offset, "sample_offset")
        self._products[direction](view, result, self._key, at & STEP_MASK, first & STEP_MASK, bool(evaluate))
        if step is None:
            self.steps[direction] = at + 1
        if len(leading) != 1:
            result = result.reshape(*leading, outputs)
        return result if type(values) is np.ndarray else self._space.returned(result, values)

    def _product_of_windows(
        self, x: Array, window_axes: int, step: int | None, sample_offset: int, evaluate: bool
    ) -> Array:
        at = self.steps["forward"] if step is None else state.integer(step, "step")
        first = state.integer(sample_offset, "sample_offset")
        axes = state.integer(window_axes, "window_axes")
        shape = tuple(int(n) for n in np.shape(x))
        if not 1 <= axes <= len(shape):
            raise ShapeError(f"window_axes is {axes} but must be at least 1 and at most the axes of x, {len(shape)}")
        leading, elements = shape[:-axes], math.prod(shape[-axes:])
        if elements != self.in_size:
            raise ShapeError(f"the windows of x have {elements} elements but this tile takes {self.in_size} elements")
        view = self._space.windows(x, self.in_size, leading, "x")
        result: Any = self._space.result(view, (math.prod(leading), self.out_size))
        product, noise = self._products["forward"], (self._key, at & STEP_MASK, first & STEP_MASK, bool(evaluate))
        if view.ndim == 2:
            product(view, result, *noise)
        else:
            product.windows(view, len(leading), result, *noise)
        if step is None:
            self.steps["forward"] = at + 1
        return self._space.returned(result.reshape(*leading, self.out_size), x)

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
        x_view, d_view = self._update_views(x, d)
        state.check_finite(lr, "lr")
        if lr == 0.0:
            return
        first = sample_offset if type(sample_offset) is int else state.integer(sample_offset, "sample_offset")
        self._cells.update(self._rule, x_view, d_view, lr, Trains(self._key, self.steps["update"], first))
        mark_written(self._weight_array)

    def _update_views(self, x: Array, d: Array) -> tuple[Any, Any]:
        """``x`` and ``d`` as the cells take them: matrices, or windows of a larger array for x."""
        outputs, inputs = self._weight.shape
        cells = self._cells
        if isinstance(cells, DeviceArray) and cells.core_device is not None and self._space is HOST:
            views = _core.rows_of_tensors(x, inputs, d, outputs)
            if views is not None:
                return views
        d_view, leading = self._space.samples(d, outputs, "d")
        x_view = self._space.windows(x, inputs, leading, "x")
        if x_view.ndim > 2 and not isinstance(cells, DeviceArray):  # cells cut a batch where they transfer
            x_view = copy_windows(x_view, len(leading)) if leading else x_view.reshape(1, self.in_size)
        return x_view, d_view

    # -- weights and devices -------------------------------------------------------------------------------------------

    def get_weights(self) -> Array:
        """A copy of the weights."""
        return framework_array(self._weight.copy(), self._framework)

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
        return framework_array(self._space.put(as_numpy(values)), self._framework)

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
