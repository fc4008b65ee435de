"""Calls for several tiles at once: the bits of one call for each tile, and what they refuse."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from exact import DEVICES, UPDATES, assert_same_bits
from test_exact_mvm import IO
from unit_cells import WRITTEN, cells

from rpu_sim import Tile, together
from rpu_sim import config as c
from rpu_sim.errors import ConfigError, NonFiniteError, ShapeError

SHAPES = [(9, 21), (9, 21), (4, 70), (130, 5)]  # equal ones, and others


def config_of(device: Any, **fields: Any) -> Any:
    kind = c.UnitCellRPUConfig if isinstance(device, c.UnitCell) else c.SingleRPUConfig
    kind = c.DigitalRankUpdateRPUConfig if isinstance(device, c.DigitalRankUpdateCell) else kind
    return kind(device=device, **fields)


def twins(config: Any) -> tuple[list[Tile], list[Tile]]:
    """The same tiles twice: for calls one after the other, and for calls together."""
    first, second = ([Tile(*shape, config, seed=i) for i, shape in enumerate(SHAPES)] for _ in range(2))
    return first, second


def samples(side: int, n: int = 6, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng((seed, side))
    values = [0.4 * rng.standard_normal((n, shape[side])).astype(np.float32) for shape in SHAPES]
    for v in values:
        v[0, :2] = 0.0
    return values


def assert_same_tiles(one: list[Tile], other: list[Tile]) -> None:
    for a, b in zip(one, other, strict=True):
        states = a.state_dict(), b.state_dict()
        for name, expected in states[0].items():
            assert states[1][name].tobytes() == expected.tobytes(), name


@pytest.mark.parametrize("name", IO)
def test_products(isa: str, name: str) -> None:
    one, other = twins(c.SingleRPUConfig(forward=IO[name], backward=IO[name]))
    for call in range(2):
        for direction, side in (("forward", 1), ("backward", 0)):
            values = samples(side, seed=call)
            expected = [getattr(tile, direction)(v) for tile, v in zip(one, values, strict=True)]
            found = getattr(together, direction)(other, values)
            for y, wanted in zip(found, expected, strict=True):
                assert_same_bits(y, wanted, direction)
    assert_same_tiles(one, other)
    steps = [7, 3, 0, 2]
    values = samples(1)
    expected = [
        tile.forward(v, step=n, sample_offset=4, evaluate=True) for tile, v, n in zip(one, values, steps, strict=True)
    ]
    found = together.forward(other, values, steps=steps, sample_offset=4, evaluate=True)
    for y, wanted in zip(found, expected, strict=True):
        assert_same_bits(y, wanted, "explicit steps")
    assert_same_tiles(one, other)


def assert_same_updates(config: Any) -> None:
    one, other = twins(config)
    for call, lrs in enumerate([[0.05, 0.05, 0.0, -0.02], [0.05] * 4]):
        xs, ds = samples(1, seed=call), samples(0, seed=call)
        for tile, x, d, lr in zip(one, xs, ds, lrs, strict=True):
            tile.update(x, d, lr)
        together.update(other, xs, ds, lrs)
        assert_same_tiles(one, other)
        assert [tile.pulse_counts for tile in one] == [tile.pulse_counts for tile in other]


def test_updates_side_by_side(isa: str, threads: int) -> None:
    """So many samples that small tiles are shared out to threads, of which one has windows for its inputs."""
    n, rng = 600, np.random.default_rng(3)
    one, other = twins(c.SingleRPUConfig(device=c.SoftBoundsDevice()))
    xs, ds = samples(1, n), samples(0, n)
    line = rng.standard_normal(n + 20).astype(np.float32)
    windows = np.lib.stride_tricks.sliding_window_view(line, 21)
    for call in range(2):
        for i, (tile, d) in enumerate(zip(one, ds, strict=True)):
            tile.update(windows if i == 1 else xs[i], d, 0.02 * (1 - call))
        together.update(other, [xs[0], windows, *xs[2:]], ds, [0.02 * (1 - call)] * len(ds))
    assert_same_tiles(one, other)
    assert [tile.pulse_counts for tile in one] == [tile.pulse_counts for tile in other]


@pytest.mark.parametrize("name", DEVICES)
def test_devices(isa: str, name: str) -> None:
    assert_same_updates(config_of(DEVICES[name]))


@pytest.mark.parametrize("name", UPDATES)
def test_updates(isa: str, name: str) -> None:
    assert_same_updates(config_of(DEVICES["soft"], update=UPDATES[name]))


@pytest.mark.parametrize("kind", ["MEAN_FIELD", "NONE_WITH_DEVICE", "NONE"])
def test_updates_without_pulses(isa: str, kind: str) -> None:
    assert_same_updates(config_of(WRITTEN, update=c.UpdateParameters(pulse_type=c.PulseType[kind])))


@pytest.mark.parametrize("name", ["vector-all", "chopped", "mixed-precision"])
def test_cells_of_several_devices(name: str) -> None:
    assert_same_updates(config_of(cells()[name]))


def test_windows_and_axes() -> None:
    """Samples of several axes keep them, and windows are copied."""
    one, other = twins(None)
    xs, ds = ([v.reshape(2, 3, -1) for v in samples(side)] for side in (1, 0))
    for y, wanted in zip(
        together.forward(other, xs), [t.forward(x) for t, x in zip(one, xs, strict=True)], strict=True
    ):
        assert_same_bits(y, wanted, "y")
    xs[1] = np.lib.stride_tricks.sliding_window_view(
        np.linspace(-1, 1, 46, dtype=np.float32).reshape(2, 23), 21, axis=1
    )
    assert xs[1].shape == (2, 3, 21)
    for tile, x, d in zip(one, xs, ds, strict=True):
        tile.update(x, d, 0.1, sample_offset=3)
    together.update(other, xs, ds, [0.1] * 4, sample_offset=3)
    assert_same_tiles(one, other)


def test_many_tiles(isa: str) -> None:
    """More than fit into one launch."""
    tiles = [[Tile(3, 5, seed=i) for i in range(40)] for _ in range(2)]
    x, d = np.full((2, 5), 0.3, np.float32), np.full((2, 3), -0.2, np.float32)
    for tile in tiles[0]:
        tile.update(x, d, 0.1)
    together.update(tiles[1], [x] * 40, [d] * 40, [0.1] * 40)
    found = together.forward(tiles[1], [x] * 40)
    for y, tile in zip(found, tiles[0], strict=True):
        assert_same_bits(y, tile.forward(x), "y")
    assert_same_tiles(*tiles)


def test_nothing_happens_where_one_call_is_wrong() -> None:
    one, other = twins(config_of(DEVICES["soft"], forward=IO["average"], update=UPDATES["growing"]))
    xs, ds = samples(1), samples(0)
    broken = [*xs[:3], np.full_like(xs[3], np.nan)]
    with pytest.raises(NonFiniteError, match="x contains NaN or infinity; the weights were left unchanged"):
        together.update(other, broken, ds, [0.1] * 4)
    with pytest.raises(NonFiniteError, match="x contains NaN or infinity; nothing was computed"):
        together.forward(other, broken)
    with pytest.raises(NonFiniteError):
        together.update(other, xs, ds, [0.1, 0.1, 0.1, float("inf")])
    with pytest.raises(ConfigError, match="lower it"):
        together.update(other, xs, ds, [0.1, 0.1, 0.1, 3e38])
    with pytest.raises(ShapeError, match="there are 3 xs for 4 tiles; give one for each"):
        together.forward(other, xs[:3])
    with pytest.raises(ShapeError, match="there are 2 lrs for 4 tiles"):
        together.update(other, xs, ds, [0.1, 0.1])
    with pytest.raises(ShapeError, match="take each tile once"):
        together.forward([other[0], other[0]], xs[:2])
    with pytest.raises(ShapeError, match=r"x has shape \(6, 21\) but its last dimension must be 70"):
        together.forward(other, [xs[0], xs[1], xs[0], xs[3]])
    assert together.forward([], []) == []
    assert_same_tiles(one, other)
