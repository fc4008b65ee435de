"""A tile whose weight is an ordinary parameter: for hardware-aware training and inference."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from aihw_torch.config import FloatingPointRPUConfig
from aihw_torch.tiles import state
from aihw_torch.tiles.base import TileModule, decode_config, encode_config


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
        self.weight = nn.Parameter(torch.zeros(out_size, in_size + self.analog_bias, dtype=self.edge_dtype))
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
        own = {name: values for name, values in state_dict.items() if name.startswith(prefix)}
        extras = {name: own.pop(prefix + name, None) for name in ("step.forward", "seed", "meta")}
        where = prefix.rstrip(".") or "the tile"
        if (meta := extras["meta"]) is not None and not state.is_software_state(meta):
            error_msgs.append(
                f"the state of {where} is that of a tile that is trained by pulses, and the weight of this one is "
                "trained in software; make the layer with the configuration it was saved with, or copy the weight with "
                "set_weights()"
            )
            return
        missing_keys += [prefix + name for name, values in extras.items() if values is None]
        scales = own.get(prefix + "mapping_scales")
        if scales is None or scales.numel() in (1, self.out_size):
            self.mapping_scales = None if scales is None else scales.clone()
        errors = len(error_msgs)
        super()._load_from_state_dict(own, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs)
        if len(error_msgs) == errors:
            self._take(extras, where)

    def _take(self, given: Mapping[str, Tensor | None], where: str) -> None:
        if (step := given["step.forward"]) is not None:
            self.forward_step.copy_(step)
        if (seed := given["seed"]) is not None:
            self.seed = int(seed) % (1 << 64)
            self.seed_tensor.fill_(self.signed_seed)
        meta = given["meta"]
        if meta is not None and not torch.equal(meta, encode_config(self._config)):
            if state.replaces_configs():
                stored = decode_config(meta)
                stored.tile_class, stored.tile_array_class = self._config.tile_class, self._config.tile_array_class
                self._config = stored.frozen_copy()
            else:
                state.warn_of_other_config(where)
        self._weights_changed()
