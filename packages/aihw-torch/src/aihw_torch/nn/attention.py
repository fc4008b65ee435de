"""Multi-head attention whose projections are on tiles."""

from __future__ import annotations

import math
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aihw_torch import seeds
from aihw_torch.errors import ConfigError, ShapeError
from aihw_torch.nn.base import AnalogLayerBase
from aihw_torch.nn.layer import check_sizes, without_initial_values
from aihw_torch.nn.linear import AnalogLinear


class AnalogMultiheadAttention(AnalogLayerBase):
    """`torch.nn.MultiheadAttention` with its four projections on tiles; products of activations are digital.

    Args:
        embed_dim, num_heads, dropout, bias, kdim, vdim, batch_first: as in torch.
        rpu_config: of all projections, `SingleRPUConfig()` by default.
        tile_module_class: the module that holds each matrix, by default as its size needs.
        seed: of all randomness of the layer's tiles; by default it follows torch's random state.

    Attributes:
        q_proj, k_proj, v_proj, out_proj: the projections, `AnalogLinear` each.
    """

    IS_CONTAINER = True
    # torch's encoder layers read these to choose a fused digital kernel, which would pass by the tiles.
    _qkv_same_embed_dim = False
    in_proj_weight = None
    in_proj_bias = None

    q_proj: AnalogLinear
    k_proj: AnalogLinear
    v_proj: AnalogLinear
    out_proj: AnalogLinear

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        rpu_config: Any = None,
        tile_module_class: Any = None,
        *,
        seed: int | None = None,
    ) -> None:
        super().__init__()
        check_sizes(embed_dim=embed_dim, num_heads=num_heads, kdim=kdim or embed_dim, vdim=vdim or embed_dim)
        if embed_dim % num_heads:
            raise ShapeError(f"embed_dim {embed_dim} must be a multiple of num_heads {num_heads}")
        self.embed_dim, self.num_heads, self.head_dim = embed_dim, num_heads, embed_dim // num_heads
        self.kdim, self.vdim = kdim or embed_dim, vdim or embed_dim
        self.dropout, self.batch_first, self.use_bias = dropout, batch_first, bias
        sizes = {"q_proj": embed_dim, "k_proj": self.kdim, "v_proj": self.vdim, "out_proj": embed_dim}
        with seeds.from_seed(seeds.torch_seed() if seed is None else seed), without_initial_values():
            for name, width in sizes.items():
                setattr(self, name, AnalogLinear(width, embed_dim, bias, rpu_config, tile_module_class))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new weights and biases as the layer of torch does and set them."""
        self._load(self._digital())

    def _digital(self) -> nn.MultiheadAttention:
        head = (self.embed_dim, self.num_heads, self.dropout, self.use_bias)
        return nn.MultiheadAttention(*head, kdim=self.kdim, vdim=self.vdim, batch_first=self.batch_first)

    def _load(self, digital: Any) -> None:
        if digital.in_proj_weight is not None:
            weights = digital.in_proj_weight.detach().chunk(3)
        else:
            weights = tuple(w.detach() for w in (digital.q_proj_weight, digital.k_proj_weight, digital.v_proj_weight))
        biases = (None,) * 3 if digital.in_proj_bias is None else digital.in_proj_bias.detach().chunk(3)
        for name, weight, bias in zip(("q_proj", "k_proj", "v_proj"), weights, biases, strict=True):
            getattr(self, name).set_weights(weight, bias)
        self.out_proj.set_weights(digital.out_proj.weight, digital.out_proj.bias)

    @classmethod
    def from_digital(cls, module: nn.MultiheadAttention, rpu_config: Any = None, tile_module_class: Any = None) -> Self:
        """Return an analog layer with the geometry, values, data type and training mode of a layer of torch."""
        if module.bias_k is not None or module.add_zero_attn:
            raise ConfigError("add_bias_kv and add_zero_attn are not available on tiles")
        bias = module.in_proj_bias is not None
        head = (module.embed_dim, module.num_heads, module.dropout, bias, module.kdim, module.vdim, module.batch_first)
        layer = cls(*head, rpu_config, tile_module_class)
        layer._load(module)
        learns = module.out_proj.weight.requires_grad
        return layer.to(module.out_proj.weight.dtype).requires_grad_(learns).train(module.training)

    def to_digital(self) -> nn.MultiheadAttention:
        """Return the layer of torch with the logical weights, read without noise."""
        digital: Any = self._digital()
        parts = [getattr(self, name).get_weights() for name in ("q_proj", "k_proj", "v_proj")]
        with torch.no_grad():
            if digital.in_proj_weight is not None:
                digital.in_proj_weight.copy_(torch.cat([weight for weight, _ in parts]))
            else:
                for own, (weight, _) in zip(("q", "k", "v"), parts, strict=True):
                    getattr(digital, f"{own}_proj_weight").copy_(weight)
            if digital.in_proj_bias is not None:
                digital.in_proj_bias.copy_(torch.cat([bias for _, bias in parts if bias is not None]))
            weight, bias = self.out_proj.get_weights()
            digital.out_proj.weight.copy_(weight)
            if bias is not None:
                digital.out_proj.bias.copy_(bias)
        converted: nn.MultiheadAttention = digital.to(next(self.analog_tiles()).edge_dtype).train(self.training)
        return converted

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Return the outputs and the attention weights (None without `need_weights`); arguments as in torch."""
        if query.ndim == 2:  # without a batch
            outputs, weights = self._attend(
                query[None], key[None], value[None], _row(key_padding_mask), need_weights, attn_mask, is_causal
            )
            return outputs[0], _average(weights, average_attn_weights, batched=False)
        if not self.batch_first:
            query, key, value = (t.transpose(0, 1) for t in (query, key, value))
        outputs, weights = self._attend(query, key, value, key_padding_mask, need_weights, attn_mask, is_causal)
        outputs = outputs if self.batch_first else outputs.transpose(0, 1)
        return outputs, _average(weights, average_attn_weights, batched=True)

    def _attend(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None,
        need_weights: bool,
        attn_mask: Tensor | None,
        is_causal: bool,
    ) -> tuple[Tensor, Tensor | None]:
        """Return the outputs [batch, targets, embed] and the weights [batch, heads, targets, sources]."""
        if is_causal and attn_mask is None:
            raise ShapeError("is_causal is a hint about attn_mask; give the mask as well")
        q, k, v = (self._heads(p(t)) for p, t in ((self.q_proj, query), (self.k_proj, key), (self.v_proj, value)))
        mask = self._mask(attn_mask, key_padding_mask, q)
        rate = self.dropout if self.training else 0.0
        weights = None
        if need_weights:
            scores = q @ k.transpose(-2, -1) / math.sqrt(self.head_dim)
            weights = F.dropout(torch.softmax(scores if mask is None else scores + mask, dim=-1), rate)
            mixed = weights @ v
        else:
            mixed = F.scaled_dot_product_attention(q, k, v, mask, rate)
        outputs: Tensor = self.out_proj(mixed.transpose(1, 2).flatten(2))
        return outputs, weights

    def _heads(self, projected: Tensor) -> Tensor:
        """Return [batch, heads, length, head_dim]."""
        heads: Tensor = projected.unflatten(-1, (self.num_heads, self.head_dim))
        return heads.transpose(1, 2)

    def _mask(self, attn_mask: Tensor | None, key_padding_mask: Tensor | None, q: Tensor) -> Tensor | None:
        """Return what is added to the scores: [batch or 1, heads or 1, targets or 1, sources]."""
        mask = None
        if attn_mask is not None:
            mask = _additive(attn_mask, q.dtype)
            mask = mask[None, None] if mask.ndim == 2 else mask.unflatten(0, (-1, self.num_heads))
        if key_padding_mask is not None:
            padding = _additive(key_padding_mask, q.dtype)[:, None, None, :]
            mask = padding if mask is None else mask + padding
        return mask


def _row(mask: Tensor | None) -> Tensor | None:
    return None if mask is None else mask[None]


def _average(weights: Tensor | None, average: bool, batched: bool) -> Tensor | None:
    if weights is None:
        return None
    weights = weights.mean(1) if average else weights
    return weights if batched else weights[0]


def _additive(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """Return a mask of bools, True is left out, as numbers to add."""
    return torch.zeros_like(mask, dtype=dtype).masked_fill(mask, -torch.inf) if mask.dtype is torch.bool else mask
