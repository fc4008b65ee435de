"""Updates and products with windows of larger arrays, as in a convolution: the same bits as with copied patches."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest
from exact import DEVICES, assert_same_bits
from numpy.lib.stride_tricks import sliding_window_view

from rpu_sim import Tile, periphery
from rpu_sim import config as c
from rpu_sim.errors import DtypeError, NonFiniteError, ShapeError
from rpu_sim.windows import add_windows, copy_windows

CHANNELS, KERNEL, OUT = 3, (3, 2), 5
IN = CHANNELS * KERNEL[0] * KERNEL[1]


def patches(stride: int = 1, images: int = 2, seed: int = 0) -> np.ndarray:
    """Windows [images, rows, columns, channels, *KERNEL] of padded images, nothing copied."""
    image = np.random.default_rng(seed).standard_normal((images, CHANNELS, 8, 7)).astype(np.float32)
    padded = np.pad(image, ((0, 0), (0, 0), (1, 1), (1, 1)))
    found = sliding_window_view(padded, KERNEL, axis=(2, 3))[:, :, ::stride, ::stride]
    return found.transpose(0, 2, 3, 1, 4, 5)


def errors(x: np.ndarray, seed: int = 1) -> np.ndarray:
    return (0.2 * np.random.default_rng(seed).standard_normal((*x.shape[:3], OUT))).astype(np.float32)


def both(config: c.SingleRPUConfig, x: np.ndarray) -> tuple[Tile, Tile]:
    """A tile updated with windows, one with copied patches."""
    tiles = Tile(OUT, IN, config, seed=3), Tile(OUT, IN, config, seed=3)
    tiles[0].update(x, errors(x), 0.03)
    tiles[1].update(np.ascontiguousarray(x).reshape(*x.shape[:3], IN), errors(x), 0.03)
    return tiles


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("pulse_type", c.PulseType)
def test_windows_are_the_patches(isa: str, threads: int, pulse_type: c.PulseType, stride: int) -> None:
    update = c.UpdateParameters(pulse_type=pulse_type, desired_bl=200)  # several chunks of samples
    in_place, copied = both(c.SingleRPUConfig(device=DEVICES["soft"], update=update), patches(stride))
    assert_same_bits(in_place.weights, copied.weights, "weights")
    assert in_place.pulse_counts == copied.pulse_counts
    assert (in_place.weights != Tile(OUT, IN, in_place.rpu_config.mutable_copy(), seed=3).weights).any()


def test_floating_point() -> None:
    in_place, copied = both(c.FloatingPointRPUConfig(), patches())
    assert_same_bits(in_place.weights, copied.weights, "weights")


@pytest.mark.parametrize("config", [c.FloatingPointRPUConfig(), c.SingleRPUConfig(device=c.IdealDevice())])
def test_exact_windows_of_one_pixel(config: Any) -> None:
    """Their channels lie apart in memory although nothing overlaps."""
    image = np.random.default_rng(5).standard_normal((2, IN, 4, 3)).astype(np.float32)
    in_place, copied = both(config, image.transpose(0, 2, 3, 1)[..., None, None])
    assert_same_bits(in_place.weights, copied.weights, "weights")


def test_one_window_is_one_sample() -> None:
    x, d = patches()[0, 0, 0], np.linspace(-1, 1, OUT, dtype=np.float32)
    for config in (c.SingleRPUConfig(), c.FloatingPointRPUConfig()):
        in_place, copied = Tile(OUT, IN, config, seed=3), Tile(OUT, IN, config, seed=3)
        in_place.update(x, d, 0.03)
        copied.update(x.reshape(IN), d, 0.03)
        assert_same_bits(in_place.weights, copied.weights, "weights")


def test_dilated_and_flipped_windows() -> None:
    x = patches()[:, ::-1, :, :, :, ::-1]
    in_place, copied = both(c.SingleRPUConfig(), x)
    assert_same_bits(in_place.weights, copied.weights, "weights")


def test_torch_unfold() -> None:
    torch = pytest.importorskip("torch", reason="needs torch")
    image = torch.randn(2, CHANNELS, 8, 7, generator=torch.Generator().manual_seed(0))
    x = image.unfold(2, KERNEL[0], 1).unfold(3, KERNEL[1], 1).permute(0, 2, 3, 1, 4, 5)
    d = torch.randn(*x.shape[:3], OUT, generator=torch.Generator().manual_seed(1))
    unfolded = torch.nn.functional.unfold(image, KERNEL).transpose(1, 2).contiguous()
    in_place, copied = (Tile(OUT, IN, seed=3, like=image) for _ in range(2))
    in_place.update(x, d, 0.03)
    copied.update(unfolded, d.reshape(2, -1, OUT), 0.03)
    assert torch.equal(in_place.weights, copied.weights)


@pytest.mark.parametrize("config", [c.SingleRPUConfig(), c.FloatingPointRPUConfig()], ids=["pulsed", "exact"])
def test_bad_windows_change_nothing(config: c.RPUConfig) -> None:
    tile = Tile(OUT, IN, config, seed=3)
    before = tile.get_weights()
    x = patches()
    with pytest.raises(ShapeError, match="one d per x"):
        tile.update(x, errors(x)[:1], 0.03)
    with pytest.raises(ShapeError):
        tile.update(x[..., :1], errors(x), 0.03)
    broken = x.copy().transpose(0, 1, 2, 3, 5, 4)[..., ::-1].transpose(0, 1, 2, 3, 5, 4)
    broken[-1, -1, -1, 0, 0, 0] = np.nan
    with pytest.raises(NonFiniteError, match="x contains"):
        tile.update(broken, errors(x), 0.03)
    assert (tile.weights == before).all()
    assert tile.steps["update"] == 0


def test_patches_are_not_copied_as_a_whole() -> None:
    """A copy of the patches would take 81 MB; NumPy's allocations are traced, the core's buffers hold one chunk."""
    image = np.zeros((1, 32, 202, 352), np.float32)
    x = sliding_window_view(image, (3, 3), axis=(2, 3)).transpose(0, 2, 3, 1, 4, 5)
    d = np.zeros((*x.shape[:3], 1), np.float32)
    tile = Tile(1, 288)
    tracemalloc.start()
    tile.update(x, d, 0.1)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert x.size * 4 > 80e6
    assert peak < 1e6


@pytest.mark.parametrize("stride", [1, 2])
def test_copied_and_added_windows(isa: str, threads: int, stride: int) -> None:
    x = patches(stride, images=40)
    rows = copy_windows(x, 3)
    assert_same_bits(rows, np.ascontiguousarray(x).reshape(-1, IN), "rows")
    sums, expected = np.zeros((2, 40, CHANNELS, 10, 9), np.float32)
    for image, add in ((sums, True), (expected, False)):
        found = sliding_window_view(image, KERNEL, axis=(2, 3), writeable=True)[:, :, ::stride, ::stride]
        found = found.transpose(0, 2, 3, 1, 4, 5)
        if add:
            add_windows(rows, found, 3)
            continue
        for index, row in zip(np.ndindex(found.shape[:3]), rows, strict=True):
            found[index] += row.reshape(CHANNELS, *KERNEL)
    assert_same_bits(sums, expected, "sums")


def test_windows_that_overlap_in_the_first_axis() -> None:
    line, rows = np.zeros(9, np.float32), np.random.default_rng(0).standard_normal((7, 3)).astype(np.float32)
    add_windows(rows, sliding_window_view(line, 3, writeable=True), 1)
    assert_same_bits(line, sum(np.pad(rows[:, k], (k, 2 - k)) for k in (2, 1, 0)), "line")
    backwards = np.zeros(9, np.float32)
    add_windows(rows, sliding_window_view(backwards, 3, writeable=True)[::-1], 1)
    np.testing.assert_allclose(backwards[::-1], sum(np.pad(rows[:, 2 - k], (k, 2 - k)) for k in range(3)), rtol=1e-6)


def test_no_windows() -> None:
    line = np.ones(9, np.float32)
    none = sliding_window_view(line, 3, writeable=True)[:0]
    assert copy_windows(none, 1).shape == (0, 3)
    add_windows(np.zeros((0, 3), np.float32), none, 1)
    assert_same_bits(line, np.ones(9, np.float32), "line")


def test_windows_that_cannot_be_copied_or_added() -> None:
    x = sliding_window_view(np.zeros(9, np.float32), 3)
    for windows, leading, error in ((x, 0, ShapeError), (x, 3, ShapeError), (x.astype(np.float64), 1, DtypeError)):
        with pytest.raises(error):
            copy_windows(windows, leading)
    for rows in (np.zeros((7, 2), np.float32), np.zeros((6, 3), np.float32), np.zeros((7, 3), np.float32)):
        with pytest.raises(ShapeError):
            add_windows(rows, x, 1)  # the view of the last one is read-only


# -- products ----------------------------------------------------------------------------------------------------------

CHAINS = {
    "default": c.IOParameters(out_bound=0.5),  # repeated where the bound is exceeded
    "plain": c.IOParameters(noise_management=c.NoiseManagementType.NONE, bound_management=c.BoundManagementType.NONE),
    "noisy inputs": c.IOParameters(inp_noise=0.1, inp_sto_round=True, noise_management=c.NoiseManagementType.MAX),
    "worst case": c.IOParameters(
        out_bound=0.5,
        noise_management=c.NoiseManagementType.ABS_MAX_NP_SUM,
        bound_management=c.BoundManagementType.ITERATIVE_WORST_CASE,
    ),
    "running mean": c.IOParameters(noise_management=c.NoiseManagementType.AVERAGE_ABS_MAX),
    "array": c.IOParameters(ir_drop=1.0),
}


def product(io: c.IOParameters) -> tuple[Any, dict[str, np.ndarray]]:
    """A product with constants of its own."""
    weights = np.random.default_rng(2).uniform(-0.5, 0.5, (OUT, IN)).astype(np.float32)
    shapes = periphery.buffer_shapes(io, "forward", (OUT, IN))
    arrays = {f"buffer.forward_{name}": np.zeros(shape, np.float32) for name, shape in shapes.items()}
    made = periphery.product(io, "forward", weights, arrays)
    made.draw_constants(7)
    return made, arrays


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("name", CHAINS)
def test_products_of_windows_are_those_of_the_patches(isa: str, threads: int, name: str, stride: int) -> None:
    x = patches(stride, images=10)  # several panels of samples
    rows = np.ascontiguousarray(x).reshape(-1, IN)
    results = []
    for given in (x, rows):
        made, arrays = product(CHAINS[name])
        y = np.full((len(rows), OUT), np.nan, np.float32)
        for step in range(2):
            if given is x:
                made.windows(x, 3, y, 11, step, 5)
            else:
                made(rows, y, 11, step, 5)
        results.append([y, *arrays.values()])
    for in_place, copied in zip(*results, strict=True):
        assert_same_bits(in_place, copied, name)


def test_impossible_windows_of_products() -> None:
    made, _ = product(CHAINS["plain"])
    x = patches()
    y = np.empty((x[..., 0, 0, 0].size, OUT), np.float32)
    with pytest.raises(ShapeError, match=f"must have {IN} elements, not {IN // 2}"):
        made.windows(x[..., :1], 3, y, 1, 0, 0)
    with pytest.raises(ShapeError, match="one row per sample"):
        made.windows(x, 3, y[1:], 1, 0, 0)
    with pytest.raises(ShapeError, match="fewer axes"):
        made.windows(x, 7, y, 1, 0, 0)
    broken = np.ascontiguousarray(x)
    broken[1, 2, 3, 0, 0, 0] = np.inf
    with pytest.raises(NonFiniteError, match="x contains NaN or infinity; nothing was computed"):
        made.windows(broken, 3, y, 1, 0, 0)
    made.windows(x[:0], 3, y[:0], 1, 0, 0)


@pytest.mark.parametrize("stride", [1, 2])
def test_forward_of_windows(isa: str, threads: int, stride: int) -> None:
    x = patches(stride, images=10)
    rows = np.ascontiguousarray(x).reshape(*x.shape[:3], IN)
    one, other = Tile(OUT, IN, seed=3), Tile(OUT, IN, seed=3)
    for _ in range(2):
        in_place = one.forward(x, window_axes=3)
        assert in_place.shape == (*x.shape[:3], OUT)
        assert_same_bits(in_place, other.forward(rows), "counted")
    assert one.steps == other.steps
    assert_same_bits(
        one.forward(x, step=9, sample_offset=4, window_axes=3), one.forward(rows, step=9, sample_offset=4), "y"
    )
    assert_same_bits(one.forward(x[0, 0, 0], step=9, window_axes=3), one.forward(rows[0, 0, 0], step=9), "one sample")
    assert_same_bits(
        one.forward(np.ascontiguousarray(x), step=9, window_axes=3), one.forward(rows, step=9), "contiguous"
    )


def test_forward_of_impossible_windows() -> None:
    tile, x = Tile(OUT, IN, seed=3), patches()
    for axes in (0, -1, x.ndim + 1):
        with pytest.raises(ShapeError, match="window_axes is"):
            tile.forward(x, window_axes=axes)
    with pytest.raises(ShapeError, match=f"windows of x have 6 elements but this tile takes {IN}"):
        tile.forward(x, window_axes=2)
    with pytest.raises(DtypeError, match="expected an array, got list"):
        tile.forward(x[0, 0, 0].tolist(), window_axes=3)
    broken = x.copy().transpose(0, 1, 2, 3, 5, 4)[..., ::-1].transpose(0, 1, 2, 3, 5, 4)
    broken[-1, -1, -1, 0, 0, 0] = np.nan
    with pytest.raises(NonFiniteError, match="x contains"):
        tile.forward(broken, window_axes=3)
    assert tile.steps["forward"] == 0
