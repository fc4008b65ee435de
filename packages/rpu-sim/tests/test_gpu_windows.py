"""Windows of arrays on a GPU, gathered to rows and added from rows there: the bits of the CPU."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pytest
from exact import assert_same_bits
from gpu_tiles import needs_kernels

from rpu_sim import Tile, _core, gpu
from rpu_sim.errors import DeviceError, DtypeError, ShapeError
from rpu_sim.windows import add_windows, copy_windows

pytestmark = needs_kernels


class View(gpu.GpuArray):
    """A strided view of an array on a GPU, as torch has."""

    def __init__(self, array: gpu.GpuArray, shape: tuple[int, ...], strides: tuple[int, ...]) -> None:
        super().__init__(array.space, shape, array.dtype, array, array._address)
        where = array._address, *array.space.dlpack
        self._view = _core.gpu_view(array, *where, list(shape), "float32", list(strides))


class Case(NamedTuple):
    """An array and windows of it, strides in elements."""

    size: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    leading: int

    def of(self, array: np.ndarray) -> np.ndarray:
        return np.lib.stride_tricks.as_strided(array, self.shape, [4 * n for n in self.strides])

    def on(self, array: gpu.GpuArray) -> View:
        return View(array, self.shape, self.strides)

    def rows(self) -> tuple[int, int]:
        return math.prod(self.shape[: self.leading]), math.prod(self.shape[self.leading :])


def convolution(
    image: Sequence[int], kernel: Sequence[int], stride: int = 1, dilation: int = 1, last: bool = False
) -> Case:
    """The patches of images [2, 3, *image], whose channels are neighbours if they come last."""
    order = (0, *range(2, 2 + len(image)), 1) if last else range(2 + len(image))
    shape, steps, size = (2, 3, *image), {}, 1
    for axis in reversed(list(order)):
        steps[axis] = size
        size *= shape[axis]
    positions = [(n - dilation * (k - 1) - 1) // stride + 1 for n, k in zip(image, kernel, strict=True)]
    pixels = [steps[axis] for axis in range(2, 2 + len(image))]
    strides = steps[0], *(stride * n for n in pixels), steps[1], *(dilation * n for n in pixels)
    return Case(size, (2, *positions, 3, *kernel), strides, 1 + len(image))


CASES = {
    "1d": convolution((9,), (3,)),
    "1d strided": convolution((11,), (3,), stride=2),
    "1d dilated": convolution((11,), (3,), dilation=3),
    "2d": convolution((6, 5), (3, 2)),
    "2d strided and dilated": convolution((9, 11), (3, 3), stride=3, dilation=2),
    "2d strided by a multiple of the dilation": convolution((13, 11), (3, 2), stride=4, dilation=2),
    "2d apart": convolution((7, 8), (2, 2), stride=3),
    "2d channels last": convolution((6, 5), (3, 2), stride=2, last=True),
    "2d as large as the image": convolution((3, 4), (3, 4)),
    "2d pixels": convolution((4, 5), (1, 1), stride=2),
    "3d": convolution((4, 5, 3), (2, 3, 2), stride=2, dilation=1),
    "3d dilated": convolution((5, 5, 5), (3, 2, 3), stride=1, dilation=2),
    "first axis": Case(9, (7, 3), (1, 1), 1),
    "taps before channels": Case(40, (2, 8, 3, 2), (20, 2, 2, 1), 2),
    "long steps": Case(60, (4, 5), (9, 6), 1),
    "no samples": Case(9, (0, 3), (1, 1), 1),
}


@pytest.mark.parametrize("name", CASES)
def test_windows(device: str, name: str) -> None:
    case, put, rng = CASES[name], gpu.space(device).put, np.random.default_rng(0)
    values = rng.standard_normal(case.size).astype(np.float32)
    expected = copy_windows(case.of(values), case.leading)
    assert expected.shape == case.rows()
    assert_same_bits(copy_windows(case.on(put(values)), case.leading).numpy(), expected, "rows")
    rows = rng.standard_normal(case.rows()).astype(np.float32)
    sums = put(values)
    add_windows(put(rows), case.on(sums), case.leading)
    add_windows(rows, case.of(values), case.leading)
    assert_same_bits(sums.numpy(), values, "sums")


def test_every_geometry(device: str) -> None:
    """Two axes along a coordinate, of all sizes and steps, between others: a coordinate ends where the next begins."""
    put, rng = gpu.space(device).put, np.random.default_rng(0)
    for _ in range(300):
        outer, inner, step, tap, channels = (int(n) for n in rng.integers(1, 7, 5))
        width = (outer - 1) * step + (inner - 1) * tap + 1 + int(rng.integers(3))
        strides = channels * width, step, width, tap
        case = Case(2 * channels * width, (2, outer, channels, inner), strides, 2)
        values, rows = (rng.standard_normal(n).astype(np.float32) for n in (case.size, case.rows()))
        sums = put(values)
        add_windows(put(rows), case.on(sums), 2)
        add_windows(rows, case.of(values), 2)
        assert_same_bits(sums.numpy(), values, f"{case}")


def test_updates_with_windows(device: str) -> None:
    images = np.random.default_rng(0).standard_normal((2, 3, 9, 8)).astype(np.float32)
    tiles = [Tile(4, 12, seed=3), Tile(4, 12, seed=3, device=device)]
    space, case = gpu.space(device), convolution((9, 8), (2, 2))
    d = np.random.default_rng(1).standard_normal((2, 8, 7, 4)).astype(np.float32)
    tiles[0].update(case.of(images), d, 0.1)
    tiles[1].update(case.on(space.put(images)), space.put(d), 0.1)
    assert_same_bits(tiles[1].weights.numpy(), tiles[0].weights, "weights")


OTHER = {
    "one place for all": Case(3, (4, 3), (0, 1), 1),
    "three axes along one": Case(9, (3, 3, 3), (1, 2, 1), 1),
    "four coordinates": Case(10_000, (2,) * 8, (1000, 100, 10, 1) * 2, 4),
}


@pytest.mark.parametrize("name", OTHER)
def test_windows_that_no_kernel_adds(device: str, name: str) -> None:
    """They are copied, but not added, and the array is as it was."""
    case, put = OTHER[name], gpu.space(device).put
    values = np.arange(case.size, dtype=np.float32)
    array, rows = put(values), np.ones(case.rows(), np.float32)
    assert_same_bits(
        copy_windows(case.on(array), case.leading).numpy(), copy_windows(case.of(values), case.leading), ""
    )
    with pytest.raises(ShapeError, match="a GPU has no kernel for windows with these strides"):
        add_windows(put(rows), case.on(array), case.leading)
    assert_same_bits(array.numpy(), values, "array")


def test_other_windows(device: str) -> None:
    case, put = CASES["1d"], gpu.space(device).put
    array, rows = put(np.zeros(case.size, np.float32)), np.zeros(case.rows(), np.float32)
    with pytest.raises(DeviceError, match=f"^the rows are on cpu but the windows on {device}; move one of them$"):
        add_windows(rows, case.on(array), case.leading)
    with pytest.raises(ShapeError, match="rows have the shape"):
        add_windows(put(rows[1:]), case.on(array), case.leading)
    with pytest.raises(ShapeError, match="of which 9 cannot count samples"):
        copy_windows(case.on(array), 9)
    with pytest.raises(DtypeError, match="dtype int32"):
        copy_windows(put(np.zeros((2, 3), np.int32)), 1)
