"""Accumulated 1/f read noise.

The noise of a read pulse of width t_read at device time t has the standard deviation Q g S(t), where Q is a property
of the device and S(t) = sqrt(ln((t + t_read) / (2 t_read))). Source: Nandakumar et al. 2019,
doi:10.1109/ICECS46596.2019.8964852.
"""

from __future__ import annotations

import math
from typing import Any

from array_api_compat import device

from .arrays import Block, finite_array
from .errors import ShapeError
from .rng import Draw, Generator, as_generator

Array = Any


def read_noise_factor(t_device: float, t_read: float) -> float:
    """S, without unit; 0 where the logarithm would be negative (t_device < t_read)."""
    return math.sqrt(max(math.log((t_device + t_read) / (2.0 * t_read)), 0.0))


def product_read_noise(
    x: Array, variance: Array, *, rng: Generator | int, step: int = 0, sample_offset: int = 0
) -> Array:
    """Read noise of matrix-vector products whose every call reads the devices anew, at the outputs.

    With independent noise of the weights, output i of an input x has noise of the variance sum_j variance_ij x_j^2;
    that conductances do not become negative is neglected.

    Args:
        x: inputs [..., in].
        variance: of each weight in one read, [out, in], see `ProgrammedArray.read_parts_at`.
        rng: seed or generator.
        step: number of the call; another one is independent noise.
        sample_offset: number of the first input in a batch that is split.

    Returns:
        Noise [..., out] to add to the product.

    Raises:
        ShapeError: the last axis of x is not as long as a row of `variance`.
    """
    xp, x = finite_array(x, "x")
    if variance.ndim != 2 or x.ndim == 0 or x.shape[-1] != variance.shape[1]:
        raise ShapeError(f"inputs {tuple(x.shape)} do not fit the variances {tuple(variance.shape)} of [out, in].")
    rows = xp.reshape(x, (-1, x.shape[-1])) if 0 not in x.shape else xp.reshape(x, (0, x.shape[-1]))
    spread = xp.sqrt(xp.matmul(rows * rows, xp.matrix_transpose(variance)))
    block = Block(range(sample_offset, sample_offset + rows.shape[0]), 0, variance.shape[0])
    xi = as_generator(rng).normal(xp, Draw("product", 0.0, step), block, 1, x.dtype, device(x))
    return xp.reshape(spread * xi[0, ...], (*x.shape[:-1], variance.shape[0]))
