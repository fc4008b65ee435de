"""A tile whose weight is an ordinary parameter: for hardware-aware training and inference."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from aihw_torch.config import FloatingPointRPUConfig
from aihw_torch.errors import RpuError
from aihw_torch.tiles import state
from aihw_torch.tiles.base import TileModule
from aihw_torch.tiles.state import decode_config, encode_config


class WeightTile(TileModule):
    """A matrix that is trained in software, by any optimizer, and read through an array that derived classes simulate.

    This class itself reads exactly. A derived class overrides `array_product`.

    Args:
        out_size: number of outputs (rows).
        in_size: number of inputs (columns).
        rpu_config: what is simulated; the tile takes a frozen copy.
        bias: whether to add a bias, digital or as one more column of the array as `mapping.digital_bias` says.
        seed: of all randomness of the tile; by default it follows torch's (see `seeds`).

    Attributes:
        weight: the logical weight (without a learned output scale), a parameter [out, in], with one more column for an
            analog bias. The array holds `weight / mapping_scales`.
        seed_tensor: the seed, one int64.
    """

    weight: nn.Parameter
    seed_tensor: Tensor

    def __init__(
        self, out_size: int, in_size: int, rpu_config: Any = None, bias: bool = False, *, seed: int | None = None
    ) -> None:
        config = FloatingPointRPUConfig() if rpu_config is None else rpu_config
        config.check()
        super().__init__(out_size, in_size, config, bias, seed)
        self._config = config.frozen_copy()
        self.weight = nn.Parameter(self._zeros(out_size, in_size + self.analog_bias))
        seed_tensor = torch.tensor(self.signed_seed, device="cpu")
        self.register_buffer("seed_tensor", seed_tensor, persistent=False)

    @property
    def rpu_config(self) -> Any:
        """The configuration, a frozen copy."""
        return self._config

    def reconfigure(self, **changes: Any) -> None:
        """Change fields of the configuration."""
        config = self._config.mutable_copy()
        for name, value in changes.items():
            setattr(config, name, value)
        config.check()
        self._config = config.frozen_copy()

    # ---- forward

    def product(self, x: Tensor, step: Tensor) -> Tensor:
        """Return what the array computes times the mapping scale."""
        y = self.array_product(x, self.physical_weight(), step)
        return y if self.mapping_scales is None else y * self.mapping_scales

    def physical_weight(self) -> Tensor:
        """Return the weight in units of the array, [out, in] float32, with a gradient."""
        weight = self.weight.float()
        return weight if self.mapping_scales is None else weight / self.mapping_scales.float().view(-1, 1)

    def array_product(self, x: Tensor, weight: Tensor, step: Tensor) -> Tensor:
        """Return W x, [..., out].

        Args:
            x: what the converters get, [..., in] float32.
            weight: in units of the array, [out, in].
            step: the number of this forward call, one int64; with the seed it is the address of the noise.
        """
        return nn.functional.linear(x, weight)

    # ---- weights

    def _read_physical(self) -> Tensor:
        return self.physical_weight().detach().clone()

    def _write_physical(self, values: Tensor) -> None:
        scales = self.mapping_scales
        self.weight.copy_(values if scales is None else values * scales.float().view(-1, 1))

    # ---- state

    def _prepare_load(self, given: dict[str, Tensor], found: state.Findings) -> Callable[[], None]:
        names = ["weight", "step.forward", "seed", "meta"]
        own = {name: given.pop(name) for name in names if name in given}
        found.missing += [name for name in names if name not in own]
        write_periphery = super()._prepare_load(given, found)
        found.unexpected += given
        if "weight" in own:
            found.check_shape("weight", own["weight"], tuple(self.weight.shape))
        for name in ("step.forward", "seed"):
            found.check_integer(name, own.get(name))
        config = self._loaded_config(own.get("meta"), found)

        def write() -> None:
            write_periphery()
            self._take(own, config)
            if config is self._config and "meta" in own and not torch.equal(own["meta"], encode_config(config)):
                state.warn_of_other_config(found.where)

        return write

    def _loaded_config(self, meta: Tensor | None, found: state.Findings) -> Any:
        """Return the configuration that the tile has with a state: its own, or the stored one."""
        if meta is None:
            return self._config
        kind = state.format_of(meta)
        if kind == state.ARRAY_FORMAT:
            found.errors.append(
                f"the state of {found.where} is that of a tile that is trained by pulses, and the weight of this one "
                "is trained in software; make the layer with the configuration it was saved with, or copy the weight "
                "with set_weights()"
            )
        elif kind != state.SOFTWARE_FORMAT:
            found.errors.append(state.damaged_meta(found.where))
        elif state.replaces_configs() and not torch.equal(meta, encode_config(self._config)):
            try:
                stored = decode_config(meta)
            except RpuError as error:
                found.errors.append(f"the configuration in the state of {found.where} cannot be read: {error}")
                return self._config
            stored.tile_class, stored.tile_array_class = self._config.tile_class, self._config.tile_array_class
            return stored.frozen_copy()
        return self._config

    @torch.no_grad()
    def _take(self, values: Mapping[str, Tensor], config: Any) -> None:
        if "weight" in values:
            self.weight.copy_(values["weight"])
        if "step.forward" in values:
            self.forward_step.copy_(values["step.forward"].view(()))
        if "seed" in values:
            self.seed = int(values["seed"]) % (1 << 64)
            self.seed_tensor.fill_(self.signed_seed)
        self._config = config
        self._weights_changed()
