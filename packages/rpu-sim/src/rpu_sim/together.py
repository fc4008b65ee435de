"""Calls for several tiles at once, such as those of a grid that holds one matrix.

They do the same, bit by bit, as a call for each tile. On a GPU they have about as many launches as one call, where the
tiles have the same configuration; on the CPU they save the way from Python to the core, and small tiles are updated
side by side, each by one thread.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from . import _core, state
from .arrays import Array, mark_written
from .device_array import STEP_MASK, DeviceArray, Trains
from .errors import DeviceError, ShapeError
from .gpu import GpuSpace, Host
from .tile import Tile


def forward(
    tiles: Sequence[Tile],
    xs: Sequence[Array],
    *,
    steps: Sequence[int] | None = None,
    sample_offset: int = 0,
    evaluate: bool = False,
) -> list[Array]:
    """The analog products y = W x of several tiles; see `Tile.forward`.

    Args:
        tiles: The tiles, each once, all on one device.
        xs: float32 [..., in_size] for each tile.
        steps: Address of the noise of each product; by default the next forward step of each tile, which then advances.
        sample_offset, evaluate: For all tiles, as in `Tile.forward`.

    Returns:
        float32 [..., out_size] for each tile.

    Raises:
        NonFiniteError: if an input is not finite; nothing was computed then. On a GPU see `Tile.synchronize`.
        ShapeError: unless each tile is there once and has an input.
    """
    return _products("forward", tiles, xs, steps, sample_offset, evaluate)


def backward(
    tiles: Sequence[Tile],
    ds: Sequence[Array],
    *,
    steps: Sequence[int] | None = None,
    sample_offset: int = 0,
    evaluate: bool = False,
) -> list[Array]:
    """The analog products with the transposed weights, from d [..., out_size] to [..., in_size]; see `forward`."""
    return _products("backward", tiles, ds, steps, sample_offset, evaluate)


def _products(
    direction: str,
    tiles: Sequence[Tile],
    values: Sequence[Array],
    steps: Sequence[int] | None,
    sample_offset: int,
    evaluate: bool,
) -> list[Array]:
    name = "x" if direction == "forward" else "d"
    space = _check(tiles, **{f"{name}s": values}, **({} if steps is None else {"steps": steps}))
    if space is None:
        return []
    views, results, leadings = [], [], []
    view: Any = None
    leading: tuple[int, ...] = ()
    before, forwards = None, direction == "forward"
    for tile, array in zip(tiles, values, strict=True):
        outputs, width = tile._weight.shape if forwards else tile._weight.shape[::-1]
        if array is not before or view.shape[1] != width:  # tiles of the same inputs follow each other
            view, leading = space.samples(array, width, name)
            before = array
        views.append(view)
        results.append(space.result(view, (int(view.shape[0]), outputs)))
        leadings.append((*leading, outputs))
    at = [tile.steps[direction] for tile in tiles] if steps is None else [state.integer(n, "step") for n in steps]
    first = state.integer(sample_offset, "sample_offset") & STEP_MASK
    products, keys = [tile._products[direction] for tile in tiles], [tile._key for tile in tiles]
    _core.products(products, views, results, keys, [n & STEP_MASK for n in at], first, bool(evaluate))
    if steps is None:
        for tile in tiles:
            tile.steps[direction] += 1
    shaped = (y if len(shape) == 2 else y.reshape(*shape) for y, shape in zip(results, leadings, strict=True))
    return [space.returned(y, array) for y, array in zip(shaped, values, strict=True)]


def update(
    tiles: Sequence[Tile], xs: Sequence[Array], ds: Sequence[Array], lrs: Sequence[float], *, sample_offset: int = 0
) -> None:
    """Change the weights of several tiles towards W - lr * sum of d x^T, by pulses; see `Tile.update`.

    Cells of several devices, and changes without pulses, are updated one tile after the other, before all others.

    Args:
        tiles: The tiles, each once, all on one device.
        xs: float32 [..., in_size] for each tile, or windows as in `Tile.update`.
        ds: float32 [..., out_size] for each tile.
        lrs: Learning rate of each tile.
        sample_offset: Global index of the first sample of all of them.

    Raises:
        NonFiniteError: if an input or a rate is not finite; tiles of one device per crosspoint are unchanged then. On a
            GPU see `Tile.synchronize`.
        ShapeError: unless each tile is there once and has its arguments.
    """
    if _check(tiles, xs=xs, ds=ds, lrs=lrs) is None:
        return
    for lr in lrs:
        state.check_finite(lr, "lr")
    first = state.integer(sample_offset, "sample_offset")
    calls: list[_core.Update] = []
    changed: list[tuple[Tile, DeviceArray]] = []
    for tile, x, d, lr in zip(tiles, xs, ds, lrs, strict=True):
        cells = tile._cells
        call = _prepared(tile, cells, x, d, lr, first) if isinstance(cells, DeviceArray) and lr != 0.0 else None
        if call is None or not isinstance(cells, DeviceArray):
            tile.update(x, d, lr, sample_offset=first)
        else:
            calls.append(call)
            changed.append((tile, cells))
    for (tile, cells), (up, down) in zip(changed, _core.updates(calls) if calls else [], strict=True):
        cells.end_update(tile._rule, up, down)
        mark_written(tile._weight_array)


def _prepared(tile: Tile, cells: DeviceArray, x: Array, d: Array, lr: float, first: int) -> _core.Update | None:
    """The pulses of one tile; None for a tile that is updated by itself."""
    d_view, leading = tile._space.samples(d, tile.out_size, "d")
    x_view = tile._space.windows(x, tile.in_size, leading, "x")
    trains = Trains(tile._key, tile.steps["update"], first)
    return cells.prepare_update(tile._rule, x_view, d_view, lr, trains)


def _check(tiles: Sequence[Tile], **given: Sequence[object]) -> Host | GpuSpace | None:
    """The space of the tiles; None if there are none."""
    for name, values in given.items():
        if len(values) != len(tiles):
            raise ShapeError(f"there are {len(values)} {name} for {len(tiles)} tiles; give one for each")
    if len({id(tile) for tile in tiles}) != len(tiles):
        raise ShapeError("calls for several tiles take each tile once; call a tile again for more samples")
    names = sorted({tile.device for tile in tiles})
    if len(names) > 1:
        raise DeviceError(f"the tiles are on {' and '.join(names)}; move them to one device")
    return tiles[0]._space if tiles else None
