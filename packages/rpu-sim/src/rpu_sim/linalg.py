"""Linear algebra on a crossbar: a matrix held by a tile, as an operator of SciPy (needs SciPy, ``rpu-sim[linalg]``)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .arrays import Float32
from .config import IdealDevice, MappingParameter, RPUConfig, SingleRPUConfig
from .errors import DtypeError, NonFiniteError, ShapeError
from .tile import Tile

try:
    from scipy.sparse.linalg import LinearOperator
except ImportError as error:
    raise ImportError("rpu_sim.linalg needs SciPy; install rpu-sim[linalg]") from error


class AnalogMatrix(LinearOperator):  # type: ignore[misc]
    """A real matrix whose products are computed by a crossbar tile, with its noise and its converters.

    It is a `scipy.sparse.linalg.LinearOperator` of dtype float32: ``A @ x``, ``A @ X`` with the vectors in columns,
    ``x @ A``, ``A.T``, ``A.H``, ``matvec``, ``rmatvec``, sums and products of operators, and every solver of SciPy that
    takes one. Products with the transpose use the backward product of the tile. Each product draws noise of its own.

    The tile holds ``matrix / scales``; ``rpu_config.mapping`` says how: with ``weight_scaling_omega`` above 0 the
    largest absolute weight is that, of the matrix or (``weight_scaling_columnwise``) of each row, and with 0 the matrix
    is written as it is. Devices clip what lies beyond their bounds.

    Args:
        matrix: real [m, n].
        rpu_config: Configuration of the tile; None takes ideal devices with ``weight_scaling_omega=1`` and the default
            converters.
        realistic: Program the matrix with pulses (`Tile.program_weights`) instead of writing it exactly.
        seed: Names the chip, as for a `Tile`.

    Attributes:
        tile: The tile, float32 [m, n].
        scales: Digital factors of the outputs, float32 [m].

    Raises:
        ShapeError, DtypeError, NonFiniteError: if ``matrix`` is no matrix of finite real numbers.
    """

    def __init__(
        self, matrix: ArrayLike, rpu_config: RPUConfig | None = None, realistic: bool = False, *, seed: int = 0
    ) -> None:
        values = _real(np.asarray(matrix), "matrix")
        if values.ndim != 2:
            raise ShapeError(f"matrix has shape {values.shape} but must have two dimensions")
        if rpu_config is None:
            rpu_config = SingleRPUConfig(device=IdealDevice(), mapping=MappingParameter(weight_scaling_omega=1.0))
        rows, columns = values.shape
        self.tile = Tile(rows, columns, rpu_config, seed=seed)
        self.set_matrix(values, realistic=realistic)
        super().__init__(np.dtype(np.float32), values.shape)

    def set_matrix(self, matrix: ArrayLike, *, realistic: bool = False) -> None:
        """Write another matrix of the same shape into the tile; see the class."""
        values = _real(np.asarray(matrix), "matrix")
        if values.shape != (self.tile.out_size, self.tile.in_size):
            raise ShapeError(f"matrix has shape {values.shape} but the tile has {self.tile.weights.shape}")
        mapping = self.tile.rpu_config.mapping
        scales = np.ones(len(values), np.float32)
        if mapping.weight_scaling_omega > 0.0:
            largest = np.abs(values).max(axis=1 if mapping.weight_scaling_columnwise else None)
            scales[:] = np.where(largest > 0.0, largest / mapping.weight_scaling_omega, 1.0)
        weights = _float32(values / scales[:, None])  # checked before anything is written
        if realistic:
            self.tile.program_weights(weights)
        else:
            self.tile.set_weights(weights)
        self.scales = scales

    def to_dense(self) -> Float32:
        """The matrix that the tile holds now, float32 [m, n], without noise."""
        dense: Float32 = self.scales[:, None] * self.tile.get_weights()
        return dense

    def ger(self, x: ArrayLike, d: ArrayLike, alpha: float = 1.0) -> None:
        """Rank update A <- A + alpha d x^T through pulses of the devices.

        Args:
            x: [n], or [n, k] for k updates in one call.
            d: [m], or [m, k].
            alpha: Factor.
        """
        columns, errors = (np.atleast_2d(_real(np.asarray(v), name).T) for v, name in ((x, "x"), (d, "d")))
        self.tile.update(_float32(columns), _float32(errors / self.scales), -alpha)

    # -- what LinearOperator calls -------------------------------------------------------------------------------------

    def _matmat(self, x: NDArray[Any]) -> Float32:
        y: Float32 = self.tile.forward(_float32(_real(x, "x").T))
        return (y * self.scales).T

    def _rmatmat(self, x: NDArray[Any]) -> Float32:
        z: Float32 = self.tile.backward(_float32(_real(x, "x").T * self.scales))
        return z.T

    def _matvec(self, x: NDArray[Any]) -> Float32:
        return self._matmat(x.reshape(-1, 1))[:, 0]

    def _rmatvec(self, x: NDArray[Any]) -> Float32:
        return self._rmatmat(x.reshape(-1, 1))[:, 0]


def _real(values: NDArray[Any], name: str) -> NDArray[Any]:
    if not np.issubdtype(values.dtype, np.number) or np.iscomplexobj(values):
        raise DtypeError(f"{name} has dtype {values.dtype} but an analog matrix takes real numbers")
    return values


def _float32(values: NDArray[Any]) -> Float32:
    with np.errstate(over="ignore"):
        small = np.ascontiguousarray(values, np.float32)
    if not np.isfinite(small).all():
        raise NonFiniteError("an operand contains numbers that are not finite in float32; scale it first")
    return small
