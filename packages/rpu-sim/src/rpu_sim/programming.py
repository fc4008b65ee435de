"""Reading and programming the weights of a tile through its noisy periphery, as one does with hardware.

`Tile.get_weights` and `Tile.set_weights` look at the numbers of the simulation; these functions only use products and
pulses.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from . import _core
from .arrays import Array, Float32, as_numpy, returner, samples
from .config import WeightModifierParameter, WeightModifierType
from .errors import ConfigError, NonFiniteError, ShapeError
from .seeds import derive_seed
from .state import check_array, check_finite, integer
from .streams import Stream
from .weight_ops import modify_weights

if TYPE_CHECKING:
    from .tile import Tile

_STANDARD_NORMAL = WeightModifierParameter(type=WeightModifierType.ADD_NORMAL, std_dev=1.0, rel_to_actual_wmax=False)


class ProgrammingResult(NamedTuple):
    """How a closed programming loop ended."""

    iterations: int
    """Number of updates."""
    error: float
    """Mean absolute error of the last outputs over the largest absolute target output."""
    converged: bool
    """Whether the error fell below the tolerance."""


def read_weights(tile: Tile, x_values: Array = None, *, over_sampling: int = 10) -> Array:
    """An estimate of the weights; see `Tile.read_weights`."""
    if x_values is None:
        if isinstance(over_sampling, bool) or not isinstance(over_sampling, int) or over_sampling < 1:
            raise ConfigError(f"over_sampling must be a positive integer, not {over_sampling!r}")
        x = _normal_vectors(tile, over_sampling * tile.in_size)
    else:
        x = _vectors(tile, x_values)
    if len(x) < tile.in_size:
        raise ShapeError(f"x_values has {len(x)} vectors but reading {tile.in_size} inputs needs at least as many")
    # The normal equations: they are small, and float64 has digits to spare.
    wide = x.astype(np.float64)
    squares, directions = np.linalg.eigh(wide.T @ wide)
    if squares[0] <= squares[-1] * len(squares) * np.finfo(np.float64).eps:
        raise ShapeError(f"x_values does not span the {tile.in_size} inputs of the tile; give other vectors")
    y = _forward_of_copy(tile, x)
    estimate = directions @ ((directions.T @ (wide.T @ y)) / squares[:, None])
    return returner(tile.weights)(np.ascontiguousarray(estimate.T, np.float32))


def program_weights(
    tile: Tile,
    target: Array = None,
    x_values: Array = None,
    *,
    learning_rate: float = 0.1,
    max_iter: int = 10_000,
    tolerance: float = 0.01,
    w_init: float | Array = 0.01,
    progress: bool = False,
) -> ProgrammingResult:
    """Bring the weights to ``target`` by products and pulses; see `Tile.program_weights`."""
    wanted = as_numpy(tile.get_weights() if target is None else target, "target")
    check_array(wanted, (tile.out_size, tile.in_size), "target")
    x: Float32 = np.eye(tile.in_size, dtype=np.float32) if x_values is None else _vectors(tile, x_values)
    check_finite(learning_rate, "learning_rate")
    check_finite(tolerance, "tolerance")
    max_iter = integer(max_iter, "max_iter")
    if learning_rate <= 0.0 or not tolerance > 0.0 or max_iter < 0:
        raise ConfigError("learning_rate and tolerance must be positive, and max_iter not negative")
    initial = _initial_weights(tile, w_init)
    rounds = _rounds(max_iter, progress)

    outputs = x @ wanted.T
    scale = float(np.abs(outputs).max(initial=0.0)) or 1.0
    tile.set_weights(initial)
    for iteration in rounds:
        error = tile.forward(x) - outputs
        relative = float(np.abs(error).mean()) / scale
        if relative < tolerance or iteration == max_iter:
            break
        tile.update(x, error, learning_rate)
    return ProgrammingResult(iteration, relative, relative < tolerance)


def _normal_vectors(tile: Tile, n: int) -> Float32:
    """Standard normal vectors [n, in], new ones for every forward step of the tile."""
    zeros = np.zeros((n, tile.in_size), np.float32)
    seed = derive_seed(tile.seed, "read_weights")
    vectors: Float32 = modify_weights(zeros, _STANDARD_NORMAL, seed=seed, step=tile.steps["forward"])
    return vectors


def _vectors(tile: Tile, x_values: Array) -> Float32:
    x, _ = samples(x_values, tile.in_size, "x_values")
    if not np.isfinite(x).all() or not x.size:
        raise NonFiniteError("x_values must hold at least one vector of finite numbers")
    return x


def _forward_of_copy(tile: Tile, x: Float32) -> Float32:
    """The noisy product of a copy, because reading must not change the running mean of noise management."""
    twin = copy.deepcopy(tile)
    y: Float32 = twin.forward(x)
    tile.steps["forward"] = twin.steps["forward"]
    return y


def _initial_weights(tile: Tile, w_init: float | Array) -> Float32:
    """Where programming begins: given weights, or uniform ones of at most ``w_init``."""
    shape = (tile.out_size, tile.in_size)
    if not isinstance(w_init, (int, float)):
        values = as_numpy(w_init, "w_init")
        check_array(values, shape, "w_init")
        return values
    check_finite(w_init, "w_init")
    uniform: Float32 = np.empty(shape, np.float32)
    seed = derive_seed(tile.seed, "program_weights", tile.steps["update"])
    _core.uniform(uniform, -abs(w_init), abs(w_init), seed, int(Stream.INITIAL_WEIGHTS))
    return uniform


def _rounds(max_iter: int, progress: bool) -> Iterable[int]:
    if not progress:
        return range(max_iter + 1)
    try:
        from tqdm.auto import tqdm
    except ImportError:
        raise ConfigError("progress=True needs tqdm; install it or leave progress out") from None
    bar: Iterable[int] = tqdm(range(max_iter + 1), desc="programming", unit="update")
    return bar
