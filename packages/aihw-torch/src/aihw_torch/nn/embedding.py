"""The analog embedding: a row of a table is read by a product with a one-hot vector."""

from __future__ import annotations

from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aihw_torch.errors import ConfigError, DtypeError, ShapeError
from aihw_torch.nn.layer import AnalogLayer, check_sizes
from aihw_torch.tiles.dense import check_dense


class AnalogEmbedding(AnalogLayer, nn.Embedding):
    """`torch.nn.Embedding` on tiles: the matrix is [embedding_dim, num_embeddings], the inputs are one-hot.

    Args:
        num_embeddings, embedding_dim: size of the table, as in torch.
        padding_idx: its row reads as zero and is not trained.
        rpu_config: what is simulated, `SingleRPUConfig()` by default.
        tile_module_class: the module that holds the matrix, by default as its size needs.
        seed: of all randomness of the layer's tiles; by default it follows torch's random state.
    """

    DIGITAL = nn.Embedding

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        rpu_config: Any = None,
        tile_module_class: Any = None,
        *,
        seed: int | None = None,
    ) -> None:
        check_sizes(num_embeddings=num_embeddings, embedding_dim=embedding_dim)
        twin = nn.Embedding(num_embeddings, embedding_dim, padding_idx, device="meta")
        self._build(twin, embedding_dim, num_embeddings, rpu_config, tile_module_class, seed)

    def _digital(self) -> nn.Embedding:
        return nn.Embedding(self.num_embeddings, self.embedding_dim, self.padding_idx)

    def _to_matrix(self, weight: Tensor) -> Tensor:
        return weight.reshape(self.num_embeddings, self.embedding_dim).T

    def _from_matrix(self, matrix: Tensor) -> Tensor:
        return matrix.T.contiguous()

    def forward(self, input: Tensor) -> Tensor:
        """Return the rows [..., embedding_dim] of the indices [...]."""
        if not torch.compiler.is_compiling():
            self._check(input)
        one_hot = F.one_hot(input.long(), self.num_embeddings).to(next(self.analog_tiles()).edge_dtype)
        if self.padding_idx is None:
            rows: Tensor = self.analog_module(one_hot)
            return rows
        present = (input != self.padding_idx).unsqueeze(-1)
        rows = self.analog_module(one_hot * present)
        return rows * present

    def _check(self, input: Any) -> None:
        if not isinstance(input, Tensor) or input.dtype not in (torch.int64, torch.int32):
            given = input.dtype if isinstance(input, Tensor) else type(input).__name__
            raise DtypeError(f"an embedding takes a tensor of int64 or int32 indices, not {given}; use input.long()")
        check_dense(input, self.analog_module)
        low, high = (int(end) for end in input.aminmax()) if input.numel() else (0, 0)
        if low < 0 or high >= self.num_embeddings:
            raise ShapeError(
                f"an index is {low if low < 0 else high} and the table has the rows 0 to {self.num_embeddings - 1}"
            )

    @classmethod
    def _like(cls, digital: nn.Embedding, rpu_config: Any, tile_module_class: Any) -> Self:
        if digital.max_norm is not None or digital.scale_grad_by_freq or digital.sparse:
            raise ConfigError("max_norm, scale_grad_by_freq and sparse gradients are not available on tiles")
        size = (digital.num_embeddings, digital.embedding_dim, digital.padding_idx)
        return cls(*size, rpu_config, tile_module_class)
