"""One array of devices that is trained in place by pulses."""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

import rpu_sim
from aihw_torch import ops, threads
from aihw_torch.autograd import apply_mvm
from aihw_torch.config import FloatingPointRPUConfig, SingleRPUConfig
from aihw_torch.errors import NonFiniteError, RpuError, StateError
from aihw_torch.parameters import PulsedParameter, PulsedWeight, PulseToken
from aihw_torch.patches import Kernel
from aihw_torch.record import UpdateRecord
from aihw_torch.tiles import state
from aihw_torch.tiles.base import TileModule
from aihw_torch.tiles.dense import check_dense
from aihw_torch.tiles.steps import check_gradients, gradient_norms, step_together
from rpu_sim.gpu import space_of

_is_transformed = torch._C._functorch.is_functorch_wrapped_tensor
_is_tracing = torch._C._is_tracing


class AnalogTile(TileModule):
    """A matrix on one array of devices that is trained in place by pulses.

    `weight` is the memory of the array itself (see `PulsedWeight`) and `weight_token` stands for its gradient (see
    `PulseToken`). The array is float32, whatever the type of inputs and outputs; `.to(device)` moves it, bit by bit.

    Args:
        out_size: number of outputs (rows).
        in_size: number of inputs (columns).
        rpu_config: what is simulated, `SingleRPUConfig()` by default; the tile takes a copy.
        bias: whether to add a bias, digital or as one more column of the array as `mapping.digital_bias` says.
        seed: of all randomness of the tile (devices, noise, pulses); by default it follows torch's (see `seeds`).

    Attributes:
        tile: the simulated array, an `rpu_sim.Tile`.
        record: what the backward passes have left for the next step.
    """

    NOT_FOR_DDP = ("weight", "weight_token", "forward_step")

    weight: PulsedWeight
    weight_token: PulseToken
    _array: PulsedWeight

    def __init__(
        self, out_size: int, in_size: int, rpu_config: Any = None, bias: bool = False, *, seed: int | None = None
    ) -> None:
        rpu_config = SingleRPUConfig() if rpu_config is None else rpu_config
        super().__init__(out_size, in_size, rpu_config, bias, seed)
        like = torch.empty(0, device="cpu")
        self.tile = rpu_sim.Tile(out_size, in_size + self.analog_bias, rpu_config, seed=self.seed, like=like)
        self.weight = PulsedWeight(self.tile.weights)
        self.weight_token = PulseToken()
        self._link()

    def _link(self) -> None:
        """Connect the two parameters, the array and a new record."""
        object.__setattr__(self, "_array", self.weight)  # to compare with, not as another parameter
        self.weight.attach_array(self.tile.weights)
        self.weight.attach(self)
        self.weight_token.attach(self)
        self.record = UpdateRecord(self.weight_token)
        self._describe_to_compiler()

    def _describe_to_compiler(self) -> None:
        self._hides_state = self.tile.hides_state
        self._written = self.weight._version
        self._io, self._constants = ops.describe_periphery(self.tile)
        self._averages = any("running_mean" in name for name in self.tile.converter_arrays)
        # Tensors, because a number that differs between tiles would make the compiler compile each of them.
        self._seed_tensor = torch.tensor(self.signed_seed, device="cpu")
        self._key_tensor = self.record.key

    # ---- forward

    def forward(self, x: Tensor) -> Tensor:
        """Return W x + bias as the array computes it: [..., in] -> [..., out]."""
        if torch.compiler.is_compiling():
            return super().forward(x)
        if not isinstance(x, Tensor) or x.is_nested or _is_transformed(x) or _is_tracing():
            self._refuse(x)
        if self._hides_state and self._array._version != self._written:
            raise StateError(
                f"the weight of the {self.describe()} was changed in place, but it only shows what the devices hold, "
                "and the change would be lost; write with set_weights()"
            )
        if self._is_plain(x):  # the short way of most layers: one node of the graph
            if self.analog_bias:
                x = nn.functional.pad(x, (0, 1), value=1.0)
            return self._product(x, self._count(x), self._parameters["bias"], None)
        return super().forward(x)

    def of_patches(self, images: Tensor, kernel: Kernel) -> Tensor:
        """Return the outputs [samples, *positions, out]; the patches are not copied where nothing has to see them."""
        if not (self.takes_images(images, AnalogTile.forward) and self.is_plain(images)):
            return super().of_patches(images, kernel)
        kernel.must_fit(images)
        return self._product(images, self._count(images), self._parameters["bias"], kernel)

    def _is_plain(self, x: Tensor) -> bool:
        """Whether product and bias are all that there is to compute for x."""
        # Attributes are looked up without torch's protocol, which takes as long as a small product.
        parameters = self._parameters
        return (
            x.dtype is torch.float32
            and parameters["out_scaling_alpha"] is None
            and parameters["weight"] is self._array
            and not self._has_input_range
            and self.edge_dtype is torch.float32
            and x.device == self.device
            and not torch.is_autocast_enabled(self.device.type)
        )

    def is_plain(self, x: Tensor) -> bool:
        """Whether the product is all that a forward call computes for x, and whether the array may be read for it."""
        if _is_transformed(x) or _is_tracing() or (self._hides_state and self._array._version != self._written):
            return False
        return self._is_plain(x)

    def product(self, x: Tensor, step: Tensor) -> Tensor:
        """Return s W x: [..., in] -> [..., out]."""
        if not torch.compiler.is_compiling() and self._own_weight():
            return self._product(x, int(step), None, None)
        if self.training and self._averages:
            ops.refuse_running_mean(self.describe())
        y: Tensor = ops.mvm(
            x,
            self._parameters["weight"],
            self.mapping_scales,
            self._constants,
            self._parameters["weight_token"],
            self._key_tensor,
            self._seed_tensor,
            step,
            self.sample_offset(x),
            self._io,
        )
        return y

    def _product(self, x: Tensor, step: int, bias: Tensor | None, kernel: Kernel | None) -> Tensor:
        y: Tensor
        if torch.is_grad_enabled():
            y = apply_mvm(x, self._parameters["weight_token"], bias, self, step, kernel)
            return y
        y = self.read(x, step, kernel)
        return y if bias is None else y.add_(bias)

    def read(self, x: Tensor, step: int, kernel: Kernel | None = None) -> Tensor:
        """Return s W x, of rows or of images and a kernel, with the noise of the forward call number `step`."""
        threads.follow_torch()
        samples, axes = x, 1
        if kernel is not None:
            samples, axes = kernel.windows(x), 1 + len(kernel.size)
        try:
            plain = self.process_group is None and self.sample_count is None
            offset = 0 if plain else self.forward_offset(samples.shape[:-axes].numel())
            y: Tensor = self.tile.forward(
                samples, step=step, sample_offset=offset, evaluate=not self.training, window_axes=axes
            )
        except RpuError:
            self.forward_step.fill_(step)  # the call did not happen
            raise
        scales = self._buffers["mapping_scales"]
        return y if scales is None else y.mul_(scales)

    def _own_weight(self) -> bool:
        return self._parameters["weight"] is self._array

    def _refuse(self, x: Any) -> None:
        check_dense(x, self)
        if _is_transformed(x):
            raise StateError(
                "torch.func transforms do not go through a pulsed array, which every call reads with new noise; use "
                "autograd"
            )
        raise StateError(
            "torch.jit.trace would freeze the noise and lose the pulses of an analog tile; use torch.export on the "
            "model in eval mode, or torch.compile"
        )

    def join(self, process_group: Any) -> None:
        """Train together with the same tile of the other processes of the group."""
        super().join(process_group)
        self.record.process_group = process_group

    # ---- pulsed update

    def update(self, x: Tensor, d: Tensor, lr: float) -> None:
        """Fire the pulses of W -= lr d^T x, where W are the logical weights.

        Args:
            x: inputs of the array, [..., in]; the constant input of an analog bias is added here.
            d: gradients of the outputs, [..., out].
            lr: learning rate; a negative one raises the weights along the gradient.
        """
        if self.analog_bias:
            x = nn.functional.pad(x, (0, 1), value=1.0)
        d, lr = self._of_array(d.detach(), lr)
        self.tile.update(x.detach(), d, lr)
        self._changed()

    def _of_array(self, d: Tensor, lr: float) -> tuple[Tensor, float]:
        """Return gradients of logical outputs and a learning rate in units of the array."""
        scales = self.mapping_scales
        if scales is not None:  # so that lr means the same change of a logical weight as without scales
            if self.rpu_config.mapping.weight_scaling_lr_compensation:
                mean = scales.mean()
                lr, scales = lr / float(mean), scales / mean
            d = d / scales
        return d, lr

    def check_gradient(self) -> None:
        """Raise an error if the gradient is not finite, or if it does not come from a backward pass."""
        check_gradients([self], gradient_norms([self]))

    def _check_norm(self, norm: float) -> None:
        if not math.isfinite(norm):
            raise NonFiniteError(
                f"the recorded gradient of the {self.describe()} is not finite and nothing was updated; discard it "
                "with zero_grad(), or let a torch.amp.GradScaler skip such steps"
            )
        if norm != 0.0 and not len(self.record):
            raise StateError(
                f"the token of the {self.describe()} has a gradient but nothing was recorded; a tile learns from "
                "backward(), not from gradients that are computed or set in another way"
            )

    def step(self, lr: float) -> None:
        """Apply and forget what the backward passes recorded, then let one time step pass (diffusion, decay).

        Without a record, or with lr = 0, only the time step happens.
        """
        step_together([(self, lr)], gradient_norms([self]))

    def _take_record(self, recorded: float | None, wanted: float | None) -> tuple[Tensor, Tensor] | None:
        """Return what the backward passes recorded, None if there is nothing to update, and forget it.

        Args: the norm of the record, and the gradient of the token.

        Returns:
            x [..., in] and d [..., out]; x may be windows [..., *window].
        """
        taken = self.record.take(recorded, wanted)
        self.weight_token.grad = None
        self._log.clear()
        if taken is None or isinstance(taken[0], Tensor):
            return taken  # type: ignore[return-value]
        windows, d = taken[0].windows(), taken[1]
        return windows, d.view(*windows.shape[: -1 - len(taken[0].kernel.size)], d.shape[-1])

    def post_update_step(self) -> None:
        """Let one time step pass: diffusion and decay, where the device has them."""
        self.tile.post_update_step()
        self._changed()

    def drift_weights(self, delta_t: float = 1.0) -> None:
        """Let the devices drift for `delta_t` seconds, if they do (`drift.nu` above 0); training never calls this."""
        self.tile.drift(delta_t)
        self._changed()

    def decay_weights(self, alpha: float = 1.0) -> None:
        """Let every weight decay as in `alpha` steps of training, if the device has a lifetime; see `rpu_sim.Tile`."""
        self.tile.decay(alpha)
        self._changed()

    def diffuse_weights(self) -> None:
        """Add the diffusion noise of one step of training, if the device diffuses."""
        self.tile.diffuse()
        self._changed()

    def reset(self, reset_prob: float = 1.0) -> None:
        """Reset every device with the probability `reset_prob`."""
        self.tile.reset(prob=reset_prob)
        self._changed()

    def reset_columns(self, start_column_idx: int = 0, num_columns: int = 1, reset_prob: float = 1.0) -> None:
        """Reset the devices of some columns (inputs), which wrap around, each with the probability `reset_prob`."""
        self.tile.reset(start_column_idx, num_columns, reset_prob)
        self._changed()

    def _changed(self) -> None:
        """Tell autograd that the array was written to behind its back."""
        weight = self._array
        torch.autograd.graph.increment_version(weight)
        self._written = weight._version

    # ---- weights and devices

    def get_hidden_update_index(self) -> int:
        """Return the device of a vector or reference cell that is pulsed and written; see `rpu_sim.Tile`."""
        return self.tile.hidden_update_index

    def set_hidden_update_index(self, index: int) -> None:
        """Choose the device of a vector or reference cell that is pulsed and written, for example a reference."""
        self.tile.hidden_update_index = index

    @property
    def logical_weight(self) -> Tensor:
        """The matrix that a floating-point layer would use, [out, in]; without scales a view of the array."""
        values, scales = self.weight.data[:, : self.in_size], self.get_scales()
        return values if scales is None else values * scales.float().view(-1, 1)

    def _read_physical(self) -> Tensor:
        values: Tensor = self.tile.get_weights()
        return values

    def _write_physical(self, values: Tensor) -> None:
        self.tile.set_weights(values)

    def _estimate_physical(self) -> Tensor:
        return self.read_weights()

    def _program_physical(self, values: Tensor) -> None:
        self.program_weights(target=values)

    def _weights_changed(self) -> None:
        self._changed()

    def read_weights(self, x_values: Tensor | None = None, over_sampling: int = 10) -> Tensor:
        """Return an estimate of the array from noisy products, see `rpu_sim.Tile.read_weights`; counts as one call."""
        with self._counting_together():
            values: Tensor = self.tile.read_weights(x_values, over_sampling=over_sampling)
        return values

    def program_weights(
        self,
        x_values: Tensor | None = None,
        learning_rate: float = 0.1,
        max_iter: int = 10_000,
        tolerance: float = 0.01,
        w_init: float = 0.01,
        *,
        target: Tensor | None = None,
    ) -> Any:
        """Bring the array to a target by products and pulses in a closed loop, see `rpu_sim.Tile.program_weights`.

        Args:
            x_values: vectors [n, in] to compare with, the unit vectors by default.
            learning_rate, max_iter, tolerance, w_init: of the loop.
            target: in units of the array, [out, in]; by default what the array holds.
        """
        options: dict[str, Any] = {"learning_rate": learning_rate, "max_iter": max_iter, "tolerance": tolerance}
        with self._counting_together():
            result = self.tile.program_weights(target, x_values, **options, w_init=w_init)
        self._changed()
        return result

    @contextmanager
    def _counting_together(self) -> Iterator[None]:
        """Let the array count its forward calls on from those of this tile, and this tile from those of the array."""
        self.tile.steps["forward"] = int(self.forward_step)
        try:
            yield
        finally:
            self.forward_step.fill_(self.tile.steps["forward"])

    def get_hidden_parameters(self) -> dict[str, Tensor]:
        """Return copies of the parameters of each device by name, [out, in] with the column of an analog bias."""
        return {name: torch.as_tensor(values).clone() for name, values in self.tile.hidden_parameters().items()}

    def set_hidden_parameters(self, parameters: Mapping[str, Tensor]) -> None:
        """Set the parameters of each device; the names are those of `get_hidden_parameters`."""
        self.tile.set_hidden_parameters(dict(parameters))
        self._changed()

    @property
    def rpu_config(self) -> Any:
        """The configuration, a frozen copy."""
        return self.tile.rpu_config

    def reconfigure(self, **changes: Any) -> None:
        """Change fields of the configuration and keep the devices: `reconfigure(forward=IOParameters(...))`."""
        self.tile.reconfigure(**changes)
        self._describe_to_compiler()

    @property
    def pulse_counts(self) -> tuple[int, int]:
        """The number of pulses fired so far, up and down."""
        up, down = self.tile.pulse_counts
        return up, down

    # ---- torch's module protocol

    def __setattr__(self, name: str, value: Any) -> None:
        if name in ("weight", "weight_token") and "_array" in self.__dict__ and value is not getattr(self, name):
            raise StateError(
                f"the {name} of the {self.describe()} belongs to its array and cannot be replaced or sharded; write "
                "values with set_weights(), and leave pulsed layers out of FSDP (prepare_for_ddp() trains them on "
                "several processes)"
            )
        super().__setattr__(name, value)

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        del destination[prefix + "weight_token"]
        step = destination[prefix + "step.forward"]
        for name, values in self.tile.state_dict().items():
            destination[prefix + name] = values
        destination[prefix + "step.forward"] = step

    def _prepare_load(self, given: dict[str, Tensor], found: state.Findings) -> Callable[[], None]:
        write_periphery = super()._prepare_load(given, found)
        load_array = state.prepare(self.tile, given, found)

        def write() -> None:
            if load_array is not None:
                self._take(load_array(), given["step.forward"])
            write_periphery()

        return write

    def _take(self, tile: rpu_sim.Tile, step: Tensor) -> None:
        if tile is not self.tile:
            self.tile = tile
            self.weight.attach_array(tile.weights)
        self.forward_step.copy_(step)
        self.seed = tile.seed
        self._describe_to_compiler()
        self._changed()

    def __getstate__(self) -> dict[str, Any]:
        left = ("record", "_array")
        attributes = {name: value for name, value in super().__getstate__().items() if name not in left}
        if _is_shared(self.weight):
            # Sent to another process in bytes: torch sends tensors by handles, which must outlive the sending.
            attributes["tile"] = pickle.dumps(self.tile)
        return attributes

    def __setstate__(self, attributes: dict[str, Any]) -> None:
        super().__setstate__(attributes)
        if isinstance(self.tile, bytes):
            self.tile = pickle.loads(self.tile)
            if _is_shared(self.weight):  # the array stays where the sender has it
                self.tile.hold_weights_in(Tensor.data.__get__(self.weight))  # type: ignore[attr-defined]
        self._link()

    def _convert(self, fn: Callable[[Tensor], Tensor], recurse: bool) -> None:
        """Move or convert the digital parts; the array moves to devices and shared memory, and stays float32."""
        gradient, before = self.weight_token.grad, self.device
        super()._convert(lambda t: t if isinstance(t, PulsedParameter) or t is gradient else fn(t), recurse)
        if self.device != before:
            self._move()
        if _is_shared(fn(torch.empty(1, device="cpu"))) and not _is_shared(self.weight):
            self.tile.hold_weights_in(torch.empty_like(self.tile.weights).share_memory_())
            self.weight.attach_array(self.tile.weights)
            self._describe_to_compiler()

    def _move(self) -> None:
        """Let array, token and record follow the digital parts to another device; what takes memory comes first."""
        token, gradient, record = self.weight_token, self.weight_token.grad, self.record.copied_to(self.device)
        values = token.detach().to(self.device)
        gradient = None if gradient is None else gradient.to(self.device)
        token.grad = None
        self.tile.to(space_of(torch.empty(0, device=self.device)).name)
        if torch._has_compatible_shallow_copy_type(token, values):
            self.weight.attach_array(self.tile.weights)
            token.attach_values(values)
            self._describe_to_compiler()
        else:  # a device whose tensors are of another kind gets new parameters, as of other modules
            self._parameters["weight"] = PulsedWeight(self.tile.weights)
            self._parameters["weight_token"] = PulseToken(values, token.requires_grad)
            self._link()
        self.weight_token.grad = gradient
        self.record.continue_from(record)

    def _describe_config(self) -> str:
        return f"{type(self.rpu_config).__name__}({type(self.rpu_config.device).__name__})"


def _is_shared(values: Tensor) -> bool:
    """Whether a tensor is in shared memory of the CPU; torch calls all memory of GPUs shared."""
    return values.is_cpu and bool(values.untyped_storage().is_shared())


class FloatingPointTile(AnalogTile):
    """A tile that computes and learns exactly, for comparison: `FloatingPointRPUConfig()` is its default."""

    def __init__(
        self, out_size: int, in_size: int, rpu_config: Any = None, bias: bool = False, *, seed: int | None = None
    ) -> None:
        config = FloatingPointRPUConfig() if rpu_config is None else rpu_config
        super().__init__(out_size, in_size, config, bias, seed=seed)
