"""What all tiles share: the digital periphery around one array, biases, scales, data types and the state of those."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Self

import torch
import torch.distributed as dist
from torch import Tensor, nn

from aihw_torch import ops, replay, seeds
from aihw_torch.config import RPUDataType, from_dict, to_dict
from aihw_torch.errors import ConfigError, DeviceError, DtypeError, NonFiniteError, RpuError, ShapeError, StateError
from aihw_torch.patches import Kernel, patches
from aihw_torch.tiles import input_range as ranges
from aihw_torch.tiles import state
from aihw_torch.tiles.mapping import scales_of
from aihw_torch.tiles.moves import all_or_nothing
from aihw_torch.tiles.state import SOFTWARE_FORMAT
from rpu_sim.gpu import space_of

_EDGE = {RPUDataType.FLOAT: torch.float32, RPUDataType.DOUBLE: torch.float64, RPUDataType.HALF: torch.float16}


_backward_pass = torch._C._current_graph_task_id
_hooks_on_saved = torch._C._autograd._top_saved_tensors_default_hooks


def may_be_repeated(training: bool) -> bool:
    """Whether a forward call that runs now could be repeated by a backward pass."""
    if torch.is_grad_enabled() and _hooks_on_saved(False) is None:
        return False
    return replay.may_be_recomputed(training)


class TileModule(ranges.RangedModule):
    """A matrix on one array, and the digital periphery around it.

    The forward pass is ::

        x -> clip(x, -r, r) / r -> array -> * r * mapping scale * learned scale -> + bias

    with the parts that the configuration asks for. What the array is, pulsed devices or a weight that is trained in
    software, is that of the derived class, in `product`.

    Args:
        out_size: number of outputs (rows).
        in_size: number of inputs (columns).
        rpu_config: what is simulated; the tile takes a copy.
        bias: whether to add a bias, digital or as one more column of the array as `mapping.digital_bias` says.
        seed: of all randomness of the tile; by default it follows torch's (see `seeds`).

    Attributes:
        bias: the digital bias, a parameter [out], or None.
        mapping_scales: what one unit of the array is worth, [1] or [out]; None is 1. Set by `set_weights`, not trained.
        out_scaling_alpha: learned factor of the outputs, a parameter [1] or [out], or None.
        input_range: r, [1]; a parameter if it is learned; None without an input range.
        forward_step: number of forward calls so far, the address of their noise; it stays on the CPU.
        device: where the tile computes: the CPU or a GPU.
        process_group: the processes that train copies of this tile together, or None.
    """

    # What DistributedDataParallel must leave alone: it is the same on all processes by construction.
    NOT_FOR_DDP: tuple[str, ...] = ("forward_step",)

    bias: nn.Parameter | None
    mapping_scales: Tensor | None
    out_scaling_alpha: nn.Parameter | None
    forward_step: Tensor

    def __init__(
        self, out_size: int, in_size: int, rpu_config: Any, bias: bool = False, seed: int | None = None
    ) -> None:
        super().__init__()
        mapping, pre_post = rpu_config.mapping, rpu_config.pre_post
        mapping.check()
        pre_post.check()
        if min(out_size, in_size) < 1:
            raise ShapeError(f"a tile needs at least one row and one column, not {out_size} x {in_size}")
        self.out_size, self.in_size = out_size, in_size
        self.analog_bias = bias and not mapping.digital_bias
        self.seed = seeds.tile_seed(None, 0) if seed is None else seed
        self.edge_dtype = _EDGE[rpu_config.runtime.data_type]
        self._new_log()
        self.process_group: Any = None
        self.device = torch.device("cpu")
        self.register_parameter("weight", None)  # the first parameter, as in torch's layers; derived classes make it
        digital_bias = bias and not self.analog_bias
        self.register_parameter("bias", nn.Parameter(self._zeros(out_size)) if digital_bias else None)
        self.register_buffer("mapping_scales", None)
        scales = out_size if mapping.out_scaling_columnwise else 1
        alpha = nn.Parameter(self._zeros(scales) + 1.0) if mapping.learn_out_scaling else None
        self.register_parameter("out_scaling_alpha", alpha)
        self._make_input_range(pre_post.input_range)
        pre_post.input_range.must_manage_output_clipping(rpu_config)
        self.register_buffer("forward_step", torch.zeros((), dtype=torch.int64, device="cpu"), persistent=False)
        self._watch_counter()

    def _watch_counter(self) -> None:
        """Look at the counter through NumPy, which adds to a single number much faster than torch."""
        self._counter = self.forward_step.numpy()

    def _new_log(self) -> None:
        self._log = replay.StepLog()
        self._log_key = self._log.key

    def _zeros(self, *shape: int) -> Tensor:
        return torch.zeros(shape, dtype=self.edge_dtype, device="cpu")

    # ---- forward

    def forward(self, x: Tensor) -> Tensor:
        """Return W x + bias as the tile computes it: [..., in] -> [..., out]."""
        x, dtype = self._enter(x)
        factor = None
        if self.input_range is not None:
            x, factor = self._to_range(x)
        elif self.analog_bias:
            x = nn.functional.pad(x, (0, 1), value=1.0)
        y = self.product(x, self._next_step(x))
        if factor is not None and self.rpu_config.pre_post.input_range.manage_output_clipping:
            factor = self._managed(factor, y)
        for scale in (factor, self.out_scaling_alpha, self.output_factor()):
            if scale is not None:
                y = y * scale
        return self._leave(y, dtype)

    def of_patches(self, images: Tensor, kernel: Kernel) -> Tensor:
        """Return the outputs [samples, *positions, out] for what each position of a kernel sees in padded images."""
        y: Tensor = self(patches(images, kernel))
        return y

    def product(self, x: Tensor, step: Tensor) -> Tensor:
        """Return what the array computes times the mapping scale, [..., out] float32.

        Args:
            x: what the converters get, [..., in] float32, with a column more for an analog bias.
            step: the number of this forward call, one int64; its noise depends on nothing else.
        """
        raise NotImplementedError

    def output_factor(self) -> Tensor | None:
        """Return a factor of the outputs in the present mode (drift compensation), or None."""
        return None

    def _to_range(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the inputs in units of the range, with that of an analog bias, and the factor of the outputs."""
        return self._ranged(x, self.rpu_config.pre_post.input_range, self.analog_bias)

    def _managed(self, factor: Tensor, y: Tensor) -> Tensor:
        """Return the factor of the outputs y, with what `manage_output_clipping` asks for."""
        assert self.input_range is not None
        forward, scales = self.rpu_config.forward, self.mapping_scales
        limit = abs(0.999 * forward.out_bound * forward.out_scale)
        limits = limit if scales is None else limit * scales.abs()
        parameters = self.rpu_config.pre_post.input_range
        return ranges.manage_output_clipping(factor, self.input_range.float(), y, limits, parameters)

    def _enter(self, x: Tensor) -> tuple[Tensor, torch.dtype]:
        """Check an input; return it in float32, and the type of the result."""
        if torch.compiler.is_compiling():
            return x.float(), self._result_dtype(x)
        self._check_tensor(x)
        if not x.dim() or not x.shape[-1]:
            raise ShapeError(f"the {self.describe()} takes inputs [..., {self.in_size}], not {tuple(x.shape)}")
        if x.device != self.device:
            raise DeviceError(
                f"the input is on {x.device} and the {self.describe()} on {self.device}; use x.to({str(self.device)!r})"
            )
        if x.dtype is torch.float32 is self.edge_dtype and not torch.is_autocast_enabled(self.device.type):
            return x, torch.float32
        dtype = self._result_dtype(x)
        return x.float(), dtype

    def _check_tensor(self, x: Any) -> None:
        if not isinstance(x, Tensor):
            raise DtypeError(f"the {self.describe()} takes a torch.Tensor, not {type(x).__name__}; convert the input")

    def _result_dtype(self, x: Tensor) -> torch.dtype:
        if x.is_complex():
            raise DtypeError(f"the {self.describe()} takes real numbers, not {x.dtype}; give it x.real and x.imag")
        if torch.is_autocast_enabled(self.device.type):
            return torch.get_autocast_dtype(self.device.type)
        if x.dtype is not self.edge_dtype:
            raise DtypeError(
                f"the {self.describe()} takes {self.edge_dtype}, not {x.dtype}; convert the input with "
                f"x.to({self.edge_dtype}), or use torch.autocast"
            )
        return self.edge_dtype

    def _leave(self, y: Tensor, dtype: torch.dtype) -> Tensor:
        if self.bias is not None:
            y = y + self.bias
        return y if y.dtype is dtype else y.to(dtype)

    # ---- the address of the noise

    def _next_step(self, x: Tensor) -> Tensor:
        """Return the number of this forward call of the input x, and count it."""
        if torch.compiler.is_compiling():
            remember = self.training and torch.is_grad_enabled()
            step: Tensor = ops.step_of(self.forward_step, x, self._log_key, remember)
            self.forward_step.add_(1)
            return step
        return torch.tensor(self._count(x), device="cpu")

    def _count(self, x: Tensor) -> int:
        if _backward_pass() != -1 and (known := self._log.find(x)) is not None:
            return known
        step = self._count_on()
        if may_be_repeated(self.training):
            self._log.note(x, step)
        return step

    def _count_on(self) -> int:
        """Count a call; return its number."""
        counter = self._counter
        step: int = counter.item()
        counter[()] = step + 1
        return step

    def join(self, process_group: Any) -> None:
        """Train together with the same tile of the other processes of the group."""
        self.process_group = process_group

    def sample_offset(self, x: Tensor) -> int:
        """Return the global number of the first sample of x: that of the process in data-parallel training."""
        group = self.process_group
        return 0 if group is None else dist.get_rank(group) * (x.numel() // x.shape[-1])

    @property
    def signed_seed(self) -> int:
        """The seed in the range of int64, as tensors hold it."""
        return ((self.seed + (1 << 63)) % (1 << 64)) - (1 << 63)

    # ---- configuration

    @property
    def rpu_config(self) -> Any:
        """The configuration, a frozen copy."""
        raise NotImplementedError

    def reconfigure(self, **changes: Any) -> None:
        """Change fields of the configuration."""
        raise NotImplementedError

    def describe(self) -> str:
        """Return a few words for messages."""
        return f"analog tile of {self.out_size} x {self.in_size}"

    def extra_repr(self) -> str:
        """Describe the tile in the representation of a model."""
        bias = "analog" if self.analog_bias else "none" if self.bias is None else "digital"
        return f"{self.out_size}, {self.in_size}, bias={bias}, {self._describe_config()}"

    def _describe_config(self) -> str:
        return type(self.rpu_config).__name__

    # ---- weights

    def set_weights(
        self,
        weight: Any,
        bias: Any = None,
        apply_weight_scaling: bool = True,
        realistic: bool = False,
        weight_scaling_omega: float | None = None,
    ) -> None:
        """Set the weights as far as the array allows, and the bias.

        Args:
            weight: [out, in], or any shape of as many elements in that order.
            bias: [out]; None keeps a digital bias as it is and is an error for an analog one.
            apply_weight_scaling: whether the weights are logical ones; False means they are in units of the array, and
                all scales stay.
            realistic: whether the array gets there by closed-loop programming, as hardware does; False writes them.
            weight_scaling_omega: the largest absolute value on the array, by default that of the mapping. If it is
                positive, the mapping scale becomes max|weight| / omega (per output if `weight_scaling_columnwise`) and
                a learned output scale becomes 1.
        """
        weight = self._checked_weight(weight)
        bias = self._checked_bias(bias)
        if self.analog_bias:
            weight = torch.cat([weight, bias[:, None]], dim=1)
        mapping = self.rpu_config.mapping
        omega = mapping.weight_scaling_omega if weight_scaling_omega is None else weight_scaling_omega
        scales = None
        if apply_weight_scaling and omega > 0.0:
            scales = scales_of(weight, mapping, omega)
        with torch.no_grad():
            if scales is not None and self.out_scaling_alpha is not None:
                self.out_scaling_alpha.fill_(1.0)
            if scales is not None:
                self.set_mapping_scales(scales)
            current = self.get_scales() if apply_weight_scaling else None
            current = None if current is None else current.cpu()
            physical = weight if current is None else weight / _rows(current)
            if realistic:
                self._program_physical(physical)
            else:
                self._write_physical(physical)
            if self.bias is not None and bias is not None:
                self.bias.copy_(bias)
        self._weights_changed()

    def get_weights(self, apply_weight_scaling: bool = True, realistic: bool = False) -> tuple[Tensor, Tensor | None]:
        """Return copies of the weights [out, in] and of the bias [out] or None.

        Args:
            apply_weight_scaling: whether to return the logical weights, or those in units of the array.
            realistic: whether to estimate them from noisy products, as on hardware; False reads without noise.
        """
        values = self._estimate_physical() if realistic else self._read_physical()
        if apply_weight_scaling and (scales := self.get_scales()) is not None:
            values = values * _rows(scales)
        if self.analog_bias:
            return values[:, :-1].clone(), values[:, -1].clone()
        return values, None if self.bias is None else self.bias.detach().clone()

    def remap_weights(self, weight_scaling_omega: float = 1.0) -> None:
        """Write the logical weights again with the mapping scale that puts the largest at `weight_scaling_omega`."""
        self.set_weights(*self.get_weights(), weight_scaling_omega=weight_scaling_omega)

    def _checked_weight(self, weight: Any) -> Tensor:
        values: Tensor = torch.as_tensor(weight, dtype=torch.float32, device="cpu").detach()
        transposed = values.dim() == 2 and values.shape != (self.out_size, self.in_size)
        if transposed or values.numel() != self.out_size * self.in_size:
            raise ShapeError(
                f"the {self.describe()} takes weights of the shape {(self.out_size, self.in_size)}, "
                f"not {tuple(values.shape)}"
            )
        if not torch.isfinite(values).all():
            raise NonFiniteError("the weights contain NaN or infinity and nothing was set")
        return values.reshape(self.out_size, self.in_size)

    def _checked_bias(self, bias: Any) -> Any:
        if bias is None:
            if self.analog_bias:
                raise ShapeError(f"the {self.describe()} has its bias on the array; give a bias as well")
            return None
        if self.bias is None and not self.analog_bias:
            raise ShapeError(f"the {self.describe()} has no bias; leave it out")
        bias = torch.as_tensor(bias, dtype=torch.float32, device="cpu").detach()
        if bias.shape != (self.out_size,):
            raise ShapeError(f"the bias has the shape {tuple(bias.shape)} instead of {(self.out_size,)}")
        if not torch.isfinite(bias).all():
            raise NonFiniteError("the bias contains NaN or infinity and nothing was set")
        return bias

    def _read_physical(self) -> Tensor:
        """Return a copy of the array, [out, in] with the column of an analog bias."""
        raise NotImplementedError

    def _write_physical(self, values: Tensor) -> None:
        """Set the array as far as its bounds allow."""
        raise NotImplementedError

    def _estimate_physical(self) -> Tensor:
        """Return an estimate of the array from its products."""
        raise ConfigError(f"the {self.describe()} has no devices to measure; leave realistic at False")

    def _program_physical(self, values: Tensor) -> None:
        """Bring the array to these values by its products and pulses."""
        raise ConfigError(f"the {self.describe()} has no pulses to program with; leave realistic at False")

    def _weights_changed(self) -> None:
        """Do what has to follow a change of the weights from outside."""

    # ---- scales and range

    def get_scales(self) -> Tensor | None:
        """Return the product of mapping scale and learned scale, [1] or [out], or None if there is neither."""
        scales = [s.detach() for s in (self.mapping_scales, self.out_scaling_alpha) if s is not None]
        return None if not scales else scales[0].clone() if len(scales) == 1 else scales[0] * scales[1]

    def get_mapping_scales(self) -> Tensor | None:
        """Return a copy of the mapping scales, or None."""
        return None if self.mapping_scales is None else self.mapping_scales.clone()

    def set_mapping_scales(self, scales: Any) -> None:
        """Set the mapping scales: a number, [1] or [out]; None removes them."""
        if scales is None:
            self.mapping_scales = None
            return
        values = self._checked_scales(scales)
        if self.mapping_scales is not None and self.mapping_scales.shape == values.shape:
            self.mapping_scales.copy_(values)
        else:
            self.mapping_scales = values.to(self.device)

    def get_learned_out_scales(self) -> Tensor | None:
        """Return a copy of the learned output scale, or None."""
        return None if self.out_scaling_alpha is None else self.out_scaling_alpha.detach().clone()

    def set_learned_out_scales(self, scales: Any) -> None:
        """Set the learned output scale: a number, or its shape."""
        if self.out_scaling_alpha is None:
            raise ConfigError("this tile has no learned output scale; set mapping.learn_out_scaling=True")
        with torch.no_grad():
            self.out_scaling_alpha.copy_(self._checked_scales(scales).expand(self.out_scaling_alpha.shape))

    def set_scales(self, scales: Any) -> None:
        """Make the product of all scales `scales`: the mapping scale takes it, a learned output scale becomes 1."""
        self.set_mapping_scales(scales)
        if self.out_scaling_alpha is not None:
            self.set_learned_out_scales(1.0)

    def _checked_scales(self, scales: Any) -> Tensor:
        values = torch.as_tensor(scales, dtype=torch.float32, device="cpu").detach().reshape(-1).clone()
        if values.numel() not in (1, self.out_size):
            raise ShapeError(f"scales are one number or {self.out_size}, not {values.numel()}")
        if not bool((torch.isfinite(values) & (values != 0.0)).all()):
            raise NonFiniteError("scales must be finite and not zero")
        return values

    # ---- torch's module protocol

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        destination[prefix + "step.forward"] = self.forward_step.clone()
        destination[prefix + "seed"] = torch.tensor(self.signed_seed, device="cpu")
        destination[prefix + "meta"] = encode_config(self.rpu_config)

    def _load_from_state_dict(
        self,
        state_dict: Mapping[str, Any],
        prefix: str,
        local_metadata: Mapping[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        given = {name[len(prefix) :]: values for name, values in state_dict.items() if name.startswith(prefix)}
        found = state.Findings(prefix.rstrip(".") or "the tile")
        found.check_tensors(given)
        write = None if found.errors else self._prepare_load(given, found)
        missing_keys += [prefix + name for name in found.missing]
        unexpected_keys += [prefix + name for name in found.unexpected]
        error_msgs += found.errors
        if write is not None and not found.errors:
            state.write_when_all_is_sound(write)

    def _prepare_load(self, given: dict[str, Tensor], found: state.Findings) -> Callable[[], None]:
        """Check a state and return the function that writes it, which is not called if `found` has errors.

        What belongs to the periphery is taken out of `given`; derived classes do the same with what is theirs.
        """
        values: dict[str, Tensor] = {}
        complete = True
        for name in ("bias", "mapping_scales", "out_scaling_alpha", "input_range", "input_range_update_idx"):
            own: Any = getattr(self, name, None)
            if own is None and name != "mapping_scales":
                continue  # left in `given`, where it is unexpected
            if name not in given:
                complete = complete and own is None
                found.missing += [name] if own is not None else []
                continue
            values[name] = given.pop(name)
            if name != "mapping_scales":
                found.check_shape(name, values[name], tuple(own.shape))
                continue
            try:
                self._checked_scales(values[name])
            except RpuError as error:
                found.errors.append(f"the mapping_scales of {found.where} do not fit: {error}")
        return lambda: self._write_periphery(values, complete)

    def _write_periphery(self, values: Mapping[str, Tensor], complete: bool) -> None:
        with torch.no_grad():
            for name, value in values.items():
                if name == "mapping_scales":
                    self.set_mapping_scales(value)
                else:
                    getattr(self, name).copy_(value)
        if complete and "mapping_scales" not in values:
            self.mapping_scales = None

    def __getstate__(self) -> dict[str, Any]:
        left = ("_log", "_counter", "process_group")
        return {name: value for name, value in self.__dict__.items() if name not in left}

    def __setstate__(self, attributes: dict[str, Any]) -> None:
        super().__setstate__(attributes)  # type: ignore[no-untyped-call]
        self._new_log()
        self.process_group = None
        self._watch_counter()

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Move or convert the tile, as a whole or not at all."""
        with all_or_nothing(self):
            self._convert(fn, recurse)
        return self

    def _convert(self, fn: Callable[[Tensor], Tensor], recurse: bool) -> None:
        probe = fn(torch.empty(0, dtype=self.edge_dtype, device=self.device))
        if probe.device != self.device:
            self._check_device(probe)
        counter = self.forward_step
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        if not self.forward_step.is_cpu:
            self._buffers["forward_step"] = counter
        self.edge_dtype, self.device = probe.dtype, probe.device
        self._watch_counter()

    def _check_device(self, probe: Tensor) -> None:
        """Raise unless tiles compute on the device of a tensor."""
        if not (probe.is_cpu or probe.is_cuda or probe.device.type == torch._C._get_privateuse1_backend_name()):
            raise DeviceError(
                f"the {self.describe()} has no kernels for the device {probe.device}; keep it on the CPU or on CUDA"
            )
        space_of(probe)  # says what is missing

    def _replicate_for_data_parallel(self) -> Self:
        raise StateError(
            "nn.DataParallel copies a model for every batch and analog tiles have state that is changed in place; use "
            "torch.nn.parallel.DistributedDataParallel"
        )


def _rows(scales: Tensor) -> Tensor:
    """Return scales as a column that multiplies the rows of a matrix."""
    return scales.float().view(-1, 1)


def encode_config(rpu_config: Any) -> Tensor:
    """Return a configuration as JSON bytes (uint8)."""
    text = json.dumps({"format": SOFTWARE_FORMAT, "version": 1, "config": to_dict(rpu_config)}, sort_keys=True)
    return torch.frombuffer(bytearray(text.encode()), dtype=torch.uint8)


def decode_config(meta: Tensor) -> Any:
    """Return the configuration of JSON bytes."""
    try:
        stored = json.loads(bytes(meta.tolist()))
        if stored["format"] != SOFTWARE_FORMAT or stored["version"] != 1:
            raise ValueError
    except (ValueError, KeyError, TypeError):
        raise StateError("this is not the state of an analog tile, or it is of a newer version") from None
    return from_dict(stored["config"])
