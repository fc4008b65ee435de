"""What all tiles share: the digital periphery around one array, biases, scales, data types and the state of those."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Self

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.module import _has_any_global_hook

from aihw_torch import ops, replay, seeds
from aihw_torch.config import RPUDataType
from aihw_torch.errors import DeviceError, DtypeError, RpuError, ShapeError, StateError
from aihw_torch.patches import Kernel, is_plain, patches
from aihw_torch.places import may_hold_tiles
from aihw_torch.tiles import input_range as ranges
from aihw_torch.tiles import state
from aihw_torch.tiles.dense import check_dense
from aihw_torch.tiles.logical import LogicalWeights
from aihw_torch.tiles.moves import all_or_nothing
from aihw_torch.tiles.samples import SampleCount
from rpu_sim.gpu import space_of

_EDGE = {RPUDataType.FLOAT: torch.float32, RPUDataType.DOUBLE: torch.float64, RPUDataType.HALF: torch.float16}


_backward_pass = torch._C._current_graph_task_id
_hooks_on_saved = torch._C._autograd._top_saved_tensors_default_hooks


def may_be_repeated(training: bool) -> bool:
    """Whether a forward call that runs now could be repeated by a backward pass."""
    if torch.is_grad_enabled() and _hooks_on_saved(False) is None:
        return False
    return replay.may_be_recomputed(training)


class TileModule(LogicalWeights):
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
        sample_count: numbers calls and samples in place of `forward_step`, while noise is addressed by sample; or None.
    """

    # What DistributedDataParallel must leave alone: it is the same on all processes by construction.
    NOT_FOR_DDP: tuple[str, ...] = ("forward_step",)

    forward_step: Tensor
    sample_count: SampleCount | None = None

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

    def takes_images(self, images: Tensor, forward: Callable[..., Tensor]) -> bool:
        """Whether nothing has to see the patches of images, which need no copy then: no hook, compiler or analog bias.

        Nor must a derived class, or another library on the object, have put its own in the place of `forward`.
        """
        if type(self).forward is not forward or "forward" in self.__dict__:
            return False
        if torch.compiler.is_compiling() or self.analog_bias or not is_plain(images):
            return False
        if self._forward_hooks or self._forward_pre_hooks or self._backward_hooks or self._backward_pre_hooks:
            return False
        return not (_has_any_global_hook() or torch.is_autocast_enabled("cpu")) and self.edge_dtype is torch.float32

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
        check_dense(x, self)
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
        if self.sample_count is not None:
            return self.sample_count.next_step()
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

    def forward_offset(self, samples: int) -> int:
        """Return the global number of the first sample of the present forward call, which has so many samples."""
        if self.sample_count is not None:
            return self.sample_count.add(samples)
        return 0 if self.process_group is None else dist.get_rank(self.process_group) * samples

    @property
    def signed_seed(self) -> int:
        """The seed in the range of int64, as tensors hold it."""
        return ((self.seed + (1 << 63)) % (1 << 64)) - (1 << 63)

    # ---- configuration

    def reconfigure(self, **changes: Any) -> None:
        """Change fields of the configuration."""
        raise NotImplementedError

    def extra_repr(self) -> str:
        """Describe the tile in the representation of a model."""
        bias = "analog" if self.analog_bias else "none" if self.bias is None else "digital"
        return f"{self.out_size}, {self.in_size}, bias={bias}, {self._describe_config()}"

    def _describe_config(self) -> str:
        return type(self.rpu_config).__name__

    # ---- torch's module protocol

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        destination[prefix + "step.forward"] = self.forward_step.clone()
        destination[prefix + "seed"] = torch.tensor(self.signed_seed, device="cpu")
        destination[prefix + "meta"] = state.encode_config(self.rpu_config)

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
        if not may_hold_tiles(probe):
            raise DeviceError(
                f"the {self.describe()} has no kernels for the device {probe.device}; keep it on the CPU or on CUDA"
            )
        space_of(probe)  # says what is missing

    def _replicate_for_data_parallel(self) -> Self:
        raise StateError(
            "nn.DataParallel copies a model for every batch and analog tiles have state that is changed in place; use "
            "torch.nn.parallel.DistributedDataParallel"
        )
