"""Small helpers on top of the Python array-API standard."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from array_api_compat import (
    array_namespace,
    device,
    is_cupy_array,
    is_numpy_array,
    is_torch_array,
    to_device,
)
from numpy.typing import NDArray

from .errors import ConfigError, DtypeError, NonFiniteError, ShapeError

Array = Any

EPS = 1e-7  # guards a zero denominator or logarithm; relative to a full-range conductance or weight

GROUP = 64  # elements that share one group of generator counters; blocks start at a multiple of it
CACHED_BLOCK = 1 << 16  # devices handled at once on a CPU, so that the temporaries stay in cache
LARGE_BLOCK = 1 << 20  # by libraries with a higher cost per operation, and on accelerators, which want long arrays


def real_array(x: Array, name: str) -> tuple[Any, Array]:
    """(namespace, detached real floating-point array) of `x`; integers and booleans become the default float.

    Raises:
        DtypeError: `x` is no array, or of another dtype than float32, float64, an integer or bool.
    """
    try:
        xp = array_namespace(x)
    except TypeError:
        raise DtypeError(f"{name} must be an array (NumPy, torch, JAX, CuPy, ...), not {type(x).__name__}.") from None
    x = x.detach() if is_torch_array(x) else x
    if xp.isdtype(x.dtype, ("integral", "bool")):
        x = xp.astype(x, xp.asarray(0.0, device=device(x)).dtype)
    if x.dtype not in (xp.float32, xp.float64):
        raise DtypeError(f"{name} has dtype {x.dtype}; convert it to float32 or float64 first.")
    return xp, x


def finite_array(x: Array, name: str) -> tuple[Any, Array]:
    """As `real_array`, and raises NonFiniteError when `x` holds NaN or infinity."""
    xp, x = real_array(x, name)
    if not bool(xp.all(xp.isfinite(x))):
        raise NonFiniteError(f"{name} holds NaN or infinity; remove them before the call.")
    return xp, x


def checked_count(value: Any, name: str, low: int, high: int | None = None) -> int:
    """`value` as an int; raises ConfigError unless it is an integer from `low` to `high` (None: without limit)."""
    try:
        number = operator.index(value)
    except TypeError:
        number = low - 1
    if isinstance(value, bool) or number < low or (high is not None and number > high):
        limit = f"at least {low}" if high is None else f"from {low} to {high}"
        raise ConfigError(f"{name} must be an integer {limit}, got {value!r}.")
    return number


def checked_real(value: Any, name: str) -> float:
    """`value` as a float, finite or not; raises ConfigError unless it is one real number."""
    try:
        if isinstance(value, str | bytes | bool):
            raise TypeError
        return float(value)
    except (TypeError, ValueError, OverflowError):
        raise ConfigError(f"{name} must be a number, got {value!r}.") from None


def checked_reals(values: Any, name: str) -> tuple[float, ...]:
    """`values` as floats, finite or not; raises ConfigError unless it is a sequence of real numbers."""
    if isinstance(values, str | bytes) or not isinstance(values, Iterable):
        raise ConfigError(f"{name} must be a list of numbers, got {values!r}.")
    return tuple(checked_real(value, name) for value in values)


def sealed(x: Array) -> Array:
    """`x`, and for a NumPy array a view that cannot be written to."""
    if not isinstance(x, np.ndarray):
        return x
    view = x.view()
    view.flags.writeable = False
    return view


def on_host(x: Array) -> NDArray[Any]:
    """`x` as a NumPy array, from whatever device."""
    return np.asarray(to_device(x, "cpu") if is_torch_array(x) or is_cupy_array(x) else x)


def at_least(x: Array, low: float) -> Array:
    """max(x, low), element by element."""
    xp = array_namespace(x)
    return xp.maximum(x, xp.asarray(low, dtype=x.dtype, device=device(x)))


def at_most(x: Array, high: float) -> Array:
    """min(x, high), element by element."""
    xp = array_namespace(x)
    return xp.minimum(x, xp.asarray(high, dtype=x.dtype, device=device(x)))


def interpolate(xp: Any, x: Array, nodes: Array, values: Array) -> Array:
    """Piecewise-linear interpolation at `x` of `values` [M] at ascending `nodes` [M]; constant beyond the ends."""
    x = xp.clip(x, nodes[0], nodes[-1])
    upper = xp.clip(xp.searchsorted(nodes, x), 1, nodes.shape[0] - 1)
    x0, y0 = _gather(xp, nodes, upper - 1), _gather(xp, values, upper - 1)
    x1, y1 = _gather(xp, nodes, upper), _gather(xp, values, upper)
    return y0 + (y1 - y0) * ((x - x0) / (x1 - x0))


def _gather(xp: Any, table: Array, index: Array) -> Array:
    return xp.reshape(xp.take(table, xp.reshape(index, (-1,))), index.shape)


def polynomial(coefficients: tuple[float, ...], x: Array) -> Array:
    """c0 + c1 x + c2 x**2 + ... by Horner's rule."""
    result = x * 0.0 + coefficients[-1]
    for coefficient in reversed(coefficients[:-1]):
        result = result * x + coefficient
    return result


@dataclass(frozen=True)
class Block:
    """Part of a set of chips: `chips` of them, elements [start, stop) of the flattened weight matrix."""

    chips: range
    start: int
    stop: int

    def of(self, flat: Array) -> Array:
        """The block's part of an array [n_devices, n_chips, n_elements]."""
        return flat[:, self.chips.start : self.chips.stop, self.start : self.stop]


def blocks(like: Array, n_chips: int, n_elements: int, n_devices: int) -> Iterator[list[Block]]:
    """Rows of blocks that cover n_chips x n_elements; each row holds whole chips, its blocks divide the elements.

    The division depends on library and device of `like` and the three sizes only, and blocks start at multiples of
    GROUP elements.
    """
    cached = is_numpy_array(like) or (is_torch_array(like) and device(like).type == "cpu")
    size = CACHED_BLOCK if cached else LARGE_BLOCK
    elements = max(size // n_devices // GROUP, 1) * GROUP
    chips = max(elements // max(n_elements, 1), 1)
    for first in range(0, n_chips, chips):
        row = range(first, min(first + chips, n_chips))
        yield [Block(row, start, min(start + elements, n_elements)) for start in range(0, max(n_elements, 1), elements)]


def assembled(like: Array, n_chips: int, n_elements: int, n_devices: int, function: Callable[[Block], Array]) -> Array:
    """function(block) [..., chips, elements] of every block, as one array [..., n_chips, n_elements].

    Where arrays can be written to, each block goes to its place at once, so that no two copies exist.
    """
    xp, rows = array_namespace(like), blocks(like, n_chips, n_elements, n_devices)
    if not (is_numpy_array(like) or is_torch_array(like)):
        joined = [xp.concat([function(block) for block in row], axis=-1) for row in rows]
        return joined[0] if len(joined) == 1 else xp.concat(joined, axis=-2)
    result = None
    for block in itertools.chain.from_iterable(rows):
        part = function(block)
        if result is None:
            shape = (*part.shape[:-2], n_chips, n_elements)
            result = xp.empty(shape, dtype=part.dtype, device=device(part))
        result[..., block.chips.start : block.chips.stop, block.start : block.stop] = part
    return result


def require_same_shape(a: Array, b: Array, names: str) -> None:
    """Raises ShapeError unless both arrays have the same shape."""
    if tuple(a.shape) != tuple(b.shape):
        raise ShapeError(f"{names} must have equal shapes, got {tuple(a.shape)} and {tuple(b.shape)}.")
