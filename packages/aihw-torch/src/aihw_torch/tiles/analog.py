"""One array of devices as a module of torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

import rpu_sim
from aihw_torch import seeds, threads
from aihw_torch.autograd import AnalogMVM
from aihw_torch.config import FloatingPointRPUConfig, SingleRPUConfig
from aihw_torch.errors import DeviceError, DtypeError, NonFiniteError, ShapeError, StateError
from aihw_torch.parameters import PulsedWeight, PulseToken
from aihw_torch.record import UpdateRecord
from aihw_torch.tiles import state
from aihw_torch.tiles.mapping import check_supported


class AnalogTile(nn.Module):
    """A matrix on one array of devices that is trained in place by pulses.

    `weight` is the memory of the array itself (see `PulsedWeight`) and `weight_token` stands for its gradient (see
    `PulseToken`). The state is float32 on the CPU.

    Args:
        out_size: number of outputs (rows).
        in_size: number of inputs (columns).
        rpu_config: what is simulated, `SingleRPUConfig()` by default; the tile takes a copy.
        bias: whether to add a bias, digital or as one more column of the array as `mapping.digital_bias` says.
        seed: of all randomness of the tile (devices, noise, pulses); by default it follows torch's (see `seeds`).

    Attributes:
        tile: the simulated array, an `rpu_sim.Tile`.
        bias: the digital bias, a parameter [out], or None.
        record: what the backward passes have left for the next step.
    """

    weight: PulsedWeight
    weight_token: PulseToken
    bias: nn.Parameter | None

    def __init__(
        self, out_size: int, in_size: int, rpu_config: Any = None, bias: bool = False, *, seed: int | None = None
    ) -> None:
        super().__init__()
        rpu_config = SingleRPUConfig() if rpu_config is None else rpu_config
        check_supported(rpu_config)
        self.out_size, self.in_size = out_size, in_size
        self.analog_bias = bias and not rpu_config.mapping.digital_bias
        self.tile = rpu_sim.Tile(
            out_size,
            in_size + self.analog_bias,
            rpu_config,
            seed=seeds.tile_seed(None, 0) if seed is None else seed,
            like=torch.empty(0, device="cpu"),
        )
        self.weight = PulsedWeight(self.tile.weights)
        self.weight_token = PulseToken()
        digital_bias = bias and not self.analog_bias
        bias_values = nn.Parameter(torch.zeros(out_size, dtype=torch.float32, device="cpu")) if digital_bias else None
        self.register_parameter("bias", bias_values)
        self._link()

    def _link(self) -> None:
        """Connect the two parameters, the array and a new record."""
        self.weight.attach_array(self.tile.weights)
        self.weight.attach(self)
        self.weight_token.attach(self)
        self.record = UpdateRecord(self.weight_token)

    # ---- forward

    def forward(self, x: Tensor) -> Tensor:
        """Return W x + bias as the array computes it: [..., in] float32 -> [..., out]."""
        threads.follow_torch()
        x = self._checked(x)
        if self.analog_bias:
            x = nn.functional.pad(x, (0, 1), value=1.0)
        bias = self._parameters["bias"]
        y: Tensor
        if torch.is_grad_enabled():
            y = AnalogMVM.apply(x, self._parameters["weight_token"], bias, self)  # type: ignore[no-untyped-call]
            return y
        y = self.tile.forward(x.detach())
        return y if bias is None else y.add_(bias)

    def _checked(self, x: Tensor) -> Tensor:
        weight = self._parameters.get("weight")
        if not isinstance(weight, PulsedWeight) or weight.analog_tile is not self:
            raise StateError(
                "the weight of an analog tile was replaced by another tensor; a tile computes with its own array only, "
                "so write values into it with set_weights()"
            )
        if not x.is_cpu:
            raise DeviceError(f"the input is on {x.device} and the {self.describe()} on the CPU; use x.cpu()")
        if torch.is_autocast_enabled("cpu"):
            return x.float()
        if x.dtype is not torch.float32:
            raise DtypeError(f"an analog tile computes in float32; convert its input from {x.dtype} with x.float()")
        return x

    # ---- pulsed update

    def update(self, x: Tensor, d: Tensor, lr: float) -> None:
        """Fire the pulses of W -= lr d^T x.

        Args:
            x: inputs, [..., in]; the constant input of an analog bias is added here.
            d: gradients of the outputs, [..., out].
            lr: learning rate; a negative one raises the weights along the gradient.
        """
        if self.analog_bias:
            x = nn.functional.pad(x, (0, 1), value=1.0)
        self.tile.update(x.detach(), d.detach(), lr)
        self._changed()

    def check_gradient(self) -> None:
        """Raise an error if the gradient is not finite, or if it does not come from a backward pass."""
        gradient = self.weight_token.grad
        if gradient is None:
            return
        norm = gradient.item()
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
        recorded = self.record.take(self.weight_token.grad)
        self.weight_token.grad = None
        if recorded is not None:
            self.tile.update(*recorded, lr)
        self.post_update_step()

    def post_update_step(self) -> None:
        """Let one time step pass: diffusion and decay, where the device has them."""
        self.tile.post_update_step()
        self._changed()

    def _changed(self) -> None:
        """Tell autograd that the array was written to behind its back."""
        torch.autograd.graph.increment_version(self.weight)

    # ---- weights and devices

    def set_weights(self, weight: Any, bias: Any = None) -> None:
        """Set the weights as far as the bounds of the devices allow, and the bias.

        Args:
            weight: [out, in], or any shape of as many elements in that order.
            bias: [out]; None keeps a digital bias as it is and is an error for an analog one.
        """
        weight = torch.as_tensor(weight, dtype=torch.float32, device="cpu").detach()
        if weight.numel() != self.out_size * self.in_size:
            raise ShapeError(
                f"the {self.describe()} takes weights of the shape {(self.out_size, self.in_size)}, "
                f"not {tuple(weight.shape)}"
            )
        weight = weight.reshape(self.out_size, self.in_size)
        bias = self._checked_bias(bias)
        if self.analog_bias:
            weight = torch.cat([weight, bias[:, None]], dim=1)
        self.tile.set_weights(weight)
        self._changed()
        if self.bias is not None and bias is not None:
            with torch.no_grad():
                self.bias.copy_(bias)

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

    def get_weights(self) -> tuple[Tensor, Tensor | None]:
        """Return copies of the weights [out, in] and of the bias [out] or None, read without noise."""
        values = self.tile.get_weights()
        if self.analog_bias:
            return values[:, :-1].clone(), values[:, -1].clone()
        return values, None if self.bias is None else self.bias.detach().clone()

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

    @property
    def pulse_counts(self) -> tuple[int, int]:
        """The number of pulses fired so far, up and down."""
        up, down = self.tile.pulse_counts
        return up, down

    # ---- torch's module protocol

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        for name, values in self.tile.state_dict().items():
            destination[prefix + name] = values
        if self.bias is not None:
            destination[prefix + "bias"] = self.bias if keep_vars else self.bias.detach()

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
        where, missing = prefix.rstrip(".") or "the tile", list[str]()
        bias = None if self.bias is None else given.pop("bias", None)
        if self.bias is not None and bias is None:
            missing.append("bias")
        elif bias is not None and bias.shape != (self.out_size,):
            error_msgs.append(f"the bias of {where} has the shape {tuple(bias.shape)} instead of {(self.out_size,)}")
            return
        errors = len(error_msgs)
        tile = state.load(self.tile, given, where, missing, unexpected := list[str](), error_msgs)
        if tile is not self.tile:
            self.tile = tile
            self.weight.attach_array(tile.weights)
        self._changed()
        if self.bias is not None and bias is not None and len(error_msgs) == errors:
            with torch.no_grad():
                self.bias.copy_(bias)
        missing_keys += [prefix + name for name in missing]
        unexpected_keys += [prefix + name for name in unexpected]

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "record"}

    def __setstate__(self, attributes: dict[str, Any]) -> None:
        super().__setstate__(attributes)  # type: ignore[no-untyped-call]
        self._link()

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> AnalogTile:
        probe = fn(torch.empty(0, dtype=torch.float32, device="cpu"))
        if probe.dtype is not torch.float32:
            raise DtypeError(
                f"the {self.describe()} keeps its state in float32 and cannot become {probe.dtype}; convert the other "
                "modules one by one, or use torch.autocast for mixed precision"
            )
        if probe.device.type != "cpu":
            raise DeviceError(f"the {self.describe()} has no kernels for the device {probe.device}; keep it on the CPU")
        if probe.is_shared():
            raise DeviceError(f"the {self.describe()} cannot move to shared memory; send a copy to each process")
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return self

    def describe(self) -> str:
        """Return a few words for messages."""
        return f"analog tile of {self.out_size} x {self.in_size}"

    def extra_repr(self) -> str:
        """Describe the tile in the representation of a model."""
        device = type(self.rpu_config.device).__name__
        bias = "analog" if self.analog_bias else "none" if self.bias is None else "digital"
        return f"{self.out_size}, {self.in_size}, bias={bias}, {type(self.rpu_config).__name__}({device})"


class FloatingPointTile(AnalogTile):
    """A tile that computes and learns exactly, for comparison: `FloatingPointRPUConfig()` is its default."""

    def __init__(
        self, out_size: int, in_size: int, rpu_config: Any = None, bias: bool = False, *, seed: int | None = None
    ) -> None:
        config = FloatingPointRPUConfig() if rpu_config is None else rpu_config
        super().__init__(out_size, in_size, config, bias, seed=seed)
