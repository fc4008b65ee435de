"""Random configurations, shapes and calls: never a crash, never a weight that is not finite, always an exact resume.

`nox -s fuzz` runs many more examples, new ones each time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import random_configs
from hypothesis import assume, given
from hypothesis import strategies as st

from rpu_sim import Tile, backends, get_num_threads, set_num_threads
from rpu_sim.errors import RpuError

Call = tuple[str, Any]

SIZES = st.one_of(st.integers(1, 8), st.sampled_from([15, 16, 17, 33, 65]))
SCALES = st.sampled_from([1.0, 1.0, 1e-3, 1e-20, 1e4])
RATES = st.sampled_from([0.01, 0.1, -0.05, 3.0, 1e-20])

calls = st.lists(
    st.one_of(
        st.tuples(st.just("forward"), SCALES),
        st.tuples(st.just("backward"), SCALES),
        st.tuples(st.just("update"), st.tuples(SCALES, SCALES, RATES, st.integers(0, 6))),
        st.tuples(st.sampled_from(["decay", "diffuse", "post_update_step"]), st.none()),
        st.tuples(st.just("drift"), st.sampled_from([0.0, 1.0, 1000.0])),
        st.tuples(st.just("reset"), st.tuples(st.integers(0, 9), st.integers(0, 9), st.sampled_from([0.0, 0.5, 1.0]))),
    ),
    min_size=2,
    max_size=8,
)


def vectors(rng: np.random.Generator, samples: int, width: int, scale: float) -> np.ndarray:
    values = rng.standard_normal((samples, width)) * scale
    values[rng.random(values.shape) < 0.2] = 0.0
    return values.astype(np.float32)


def perform(tile: Tile, call: Call, number: int) -> np.ndarray | None:
    """One call, with data that follow from its number; what it returns."""
    name, given = call
    rng = np.random.default_rng(number)
    if name in ("forward", "backward"):
        width = tile.in_size if name == "forward" else tile.out_size
        result: np.ndarray = getattr(tile, name)(vectors(rng, 3, width, given))
        return result
    if name == "update":
        x_scale, d_scale, lr, samples = given
        tile.update(vectors(rng, samples, tile.in_size, x_scale), vectors(rng, samples, tile.out_size, d_scale), lr)
    elif name == "drift":
        tile.drift(given)
    elif name == "reset":
        tile.reset(*given)
    else:
        getattr(tile, name)()
    return None


def refused_or(action: Callable[..., Any], *arguments: Any) -> tuple[bool, Any]:
    """Whether the simulator refused with one sentence, and otherwise the result."""
    try:
        return False, action(*arguments)
    except RpuError as error:
        message = str(error)
    assert message
    assert "\n" not in message
    return True, None


def assert_same_state(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> None:
    assert a.keys() == b.keys()
    for name in a:
        assert a[name].dtype == b[name].dtype
        assert a[name].tobytes() == b[name].tobytes(), f"{name} differs"


def run(config: Any, shape: tuple[int, int], sequence: list[Call], cut: int, level: str, threads: int) -> None:
    refused, tile = refused_or(lambda: Tile(*shape, config, seed=3))
    assume(not refused)
    twin, before = None, (backends.isa(), get_num_threads())
    for number, call in enumerate(sequence):
        if number == cut:
            twin = Tile.from_state(tile.state_dict())
        saved = tile.state_dict()
        refused, result = refused_or(perform, tile, call, number)
        if refused:
            assert_same_state(tile.state_dict(), saved)
        assert np.isfinite(tile.get_weights()).all(), f"{call} made weights that are not finite"
        assert result is None or np.isfinite(result).all(), f"{call} returned numbers that are not finite"
        if twin is not None:
            backends.set_isa(level)
            set_num_threads(threads)
            try:
                refused_too, again = refused_or(perform, twin, call, number)
            finally:
                backends.set_isa(before[0])
                set_num_threads(before[1])
            assert refused_too == refused
            assert result is None or result.tobytes() == again.tobytes(), f"{call} differs after the resume"
            assert_same_state(tile.state_dict(), twin.state_dict())


machines = {"level": st.sampled_from(backends.isa_levels()), "threads": st.sampled_from([1, 2, 7])}
shapes = st.tuples(SIZES, SIZES)


@given(config=random_configs.single(), shape=shapes, sequence=calls, cut=st.integers(0, 7), **machines)
def test_any_device(config: Any, shape: Any, sequence: Any, cut: int, level: str, threads: int) -> None:
    run(config, shape, sequence, cut, level, threads)


@given(config=random_configs.compound(), shape=shapes, sequence=calls, cut=st.integers(0, 7), **machines)
def test_any_cell(config: Any, shape: Any, sequence: Any, cut: int, level: str, threads: int) -> None:
    run(config, shape, sequence, cut, level, threads)
