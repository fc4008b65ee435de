"""The product of a layer in one call: the bits of its parts; gradients beside the closed form in double precision."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
import pytest
from exact import assert_same_bits
from numpy.lib.stride_tricks import sliding_window_view

from rpu_sim import WeightClip, WeightModifier, clip_weights, derive_seed, layers, periphery
from rpu_sim import config as c
from rpu_sim.errors import NonFiniteError, ShapeError

OUT, SEED, STEP, OFFSET = 5, 11, 3, 7
NONE = {"noise_management": c.NoiseManagementType.NONE, "bound_management": c.BoundManagementType.NONE}
CHAINS = {
    "plain": c.IOParameters(out_bound=1.5, **NONE),
    "constant": c.IOParameters(
        noise_management=c.NoiseManagementType.CONSTANT, nm_thres=0.7, bound_management=c.BoundManagementType.NONE
    ),
    "asymmetric": c.IOParameters(inp_asymmetry=0.1, inp_res=-1.0, **NONE),
    "noisy inputs": c.IOParameters(inp_noise=0.1, inp_sto_round=True, **NONE),
    "managed": c.IOParameters(out_bound=0.5),
    "running mean": c.IOParameters(noise_management=c.NoiseManagementType.AVERAGE_ABS_MAX),
    "array": c.IOParameters(ir_drop=1.0, **NONE),
    "perfect": c.IOParameters(is_perfect=True),
}
# Shape of the inputs and the kernel: size, stride, dilation.
SHAPES: dict[str, tuple[tuple[int, ...], tuple[list[int], list[int], list[int]]]] = {
    "rows": ((37, 40), ([], [], [])),
    "wide rows": ((3, 530), ([], [], [])),
    "1d": ((3, 4, 19), ([3], [2], [1])),
    "2d": ((4, 3, 12, 11), ([5, 5], [1, 1], [1, 1])),
    "2d of one channel": ((9, 1, 28, 28), ([5, 5], [1, 1], [1, 1])),
    "2d strided and dilated": ((4, 17, 9, 8), ([2, 3], [2, 1], [3, 2])),
    "3d": ((2, 2, 4, 5, 6), ([2, 2, 2], [1, 2, 1], [1, 1, 2])),
}


def rows_of(x: np.ndarray, kernel: tuple[list[int], list[int], list[int]]) -> np.ndarray:
    """The samples as rows, copied by NumPy."""
    size, stride, dilation = kernel
    axes = tuple(range(2, x.ndim))
    spans = tuple(d * (k - 1) + 1 for k, d in zip(size, dilation, strict=True))
    windows = sliding_window_view(x, spans, axis=axes) if axes else x
    places = tuple(slice(None, None, s) for s in stride)
    taps = tuple(slice(None, None, d) for d in dilation)
    windows = windows[(slice(None), slice(None), *places, *taps)]
    windows = np.moveaxis(windows, 1, 1 + len(size))
    return np.ascontiguousarray(windows).reshape(-1, x.shape[1] * math.prod(size))


class Layer:
    """A layer with inputs, some of which exceed the range 1.25."""

    def __init__(self, shape: str, last: bool = False, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        size, self.geometry = SHAPES[shape]
        self.x = rng.standard_normal(size).astype(np.float32)
        self.kernel = layers.Kernel(*self.geometry)
        self.rows = rows_of(self.x, self.geometry)
        self.last = last and self.x.ndim > 2
        self.w = rng.uniform(-0.6, 0.6, (OUT, self.rows.shape[1])).astype(np.float32)
        self.scale = rng.uniform(0.5, 2.0, OUT).astype(np.float32)
        self.bias = rng.standard_normal(OUT).astype(np.float32)
        self.d = rng.standard_normal((len(self.rows), OUT)).astype(np.float32)

    @property
    def inputs(self) -> tuple[np.ndarray, tuple[int, ...], bool]:
        """The memory of x, its shape, and whether the channels come last there."""
        return self.in_memory(self.x), self.x.shape, self.last

    def in_memory(self, x: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(np.moveaxis(x, 1, -1)) if self.last else x

    def chain(self, io: c.IOParameters) -> Any:
        shapes = periphery.buffer_shapes(io, "forward", self.w.shape)
        arrays = {f"buffer.forward_{name}": np.zeros(size, np.float32) for name, size in shapes.items()}
        made = periphery.product(io, "forward", np.zeros_like(self.w), arrays)
        made.draw_constants(7)
        return made

    def run(self, io: c.IOParameters, r: float, scale: Any, bias: Any, modifier: Any) -> tuple[np.ndarray, ...]:
        """y, z, the copy and the magnitudes of two calls, the second of which is returned."""
        y, z = np.full((2, len(self.rows), OUT), np.nan, np.float32)
        copy, made = np.full_like(self.w, np.nan), self.chain(io)
        for step in range(2):
            spec = None if modifier is None else modifier.spec
            found = made.layer(
                *self.inputs,
                self.kernel,
                self.w,
                scale,
                0 if scale is None else scale.size,
                r,
                bias,
                spec,
                derive_seed(SEED),
                step,
                OFFSET,
                False,
                copy,
                z,
                y,
            )
        return y, z, self.w if scale is None and modifier is None else copy, *found

    def expect(self, io: c.IOParameters, r: float, scale: Any, bias: Any, modifier: Any) -> tuple[np.ndarray, ...]:
        """The same from its parts."""
        r32 = np.float32(r)
        u = np.clip(self.rows, -r32, r32) / r32 if r > 0.0 else self.rows
        physical = self.w if scale is None else self.w / np.broadcast_to(scale, OUT)[:, None]
        z, made = np.full((len(self.rows), OUT), np.nan, np.float32), self.chain(io)
        for step in range(2):
            copy = physical
            if modifier is not None:
                copy = modifier(physical, seed=SEED, step=step, sample_offset=OFFSET)
            made(np.ascontiguousarray(u), z, derive_seed(SEED), step, OFFSET, False, np.ascontiguousarray(copy))
        gain = (np.float32(1.0) if scale is None else scale) * (r32 if r > 0.0 else np.float32(1.0))
        return z * gain + (np.float32(0.0) if bias is None else bias), z, copy, np.abs(self.rows).max(), np.abs(z).max()


def modifier() -> WeightModifier:
    return WeightModifier(c.WeightModifierParameter(type=c.WeightModifierType.ADD_NORMAL, std_dev=0.1))


def with_everything(layer: Layer, chain: str) -> tuple[Any, ...]:
    return CHAINS[chain], 1.25, layer.scale, layer.bias, modifier()


@functools.cache
def parts(chain: str, shape: str) -> tuple[np.ndarray, ...]:
    """y, z and the copy from the parts, whose bits no level and no number of threads changes."""
    layer = Layer(shape)
    return layer.expect(*with_everything(layer, chain))[:3]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("chain", CHAINS)
def test_the_product_has_the_bits_of_its_parts(isa: str, threads: int, chain: str, shape: str) -> None:
    """Images with the channels last in memory too."""
    for last in (False, True) if len(SHAPES[shape][0]) > 2 else (False,):
        layer = Layer(shape, last)
        found = layer.run(*with_everything(layer, chain))[:3]
        for values, expected in zip(found, parts(chain, shape), strict=True):
            assert_same_bits(values, expected, f"{chain} {last}")


@pytest.mark.parametrize("scaled", ["none", "one", "each"])
@pytest.mark.parametrize("r", [0.0, 1.25, 9.0])
@pytest.mark.parametrize("shape", ["rows", "2d"])
def test_parts_that_are_not_there(shape: str, r: float, scaled: str) -> None:
    layer = Layer(shape)
    scale = {"none": None, "one": layer.scale[:1], "each": layer.scale}[scaled]
    for bias in (None, layer.bias):
        for change in (None, modifier()):
            given = CHAINS["plain"], r, scale, bias, change
            found, expected = layer.run(*given), layer.expect(*given)
            for a, b in zip(found[:3], expected[:3], strict=True):
                assert_same_bits(np.asarray(a) + np.float32(0.0), np.asarray(b) + np.float32(0.0), "part")
            assert found[4] == expected[4]
            assert found[3] == np.abs(layer.x).max()


def gradients(
    layer: Layer, copy: np.ndarray, z: np.ndarray, r: float, scale: Any, **wanted: Any
) -> dict[str, np.ndarray]:
    """What the core finds; `wanted` may leave some out."""
    found = {
        "dx": np.full_like(layer.in_memory(layer.x), np.nan),
        "dw": np.full_like(layer.w, np.nan),
        "db": np.full(OUT, np.nan, np.float32),
        "dr": np.full(1, np.nan, np.float32) if r > 0.0 else None,
    }
    for name in [name for name in found if not wanted.get(name, True)]:
        found[name] = None  # type: ignore[assignment]
    clips, bound = bool(0.0 < r < np.abs(layer.x).max(initial=0.0)), wanted.get("bound", 0.0)
    more = (wanted.get("decay", 0.0), wanted.get("share", 0.5))
    scales = (scale, 0 if scale is None else scale.size)
    values = (layer.d, *layer.inputs, copy, OUT, *scales, z, bound, r, clips)
    layers.layer_gradients(layer.kernel, *values, *more, *found.values())
    if layer.last and found["dx"] is not None:
        found["dx"] = np.ascontiguousarray(np.moveaxis(found["dx"], -1, 1))
    return {name: values for name, values in found.items() if values is not None}


def closed_form(
    layer: Layer, copy: np.ndarray, z: np.ndarray, r: float, scale: Any, bound: float
) -> dict[str, np.ndarray]:
    """The gradients in double precision, and what a rounding error of one unit in 2^-24 in every term adds up to."""
    d, w, x = (a.astype(np.float64) for a in (layer.d, copy, layer.rows))
    s = np.ones(OUT) if scale is None else np.broadcast_to(scale, OUT).astype(np.float64)
    passed = np.where(np.abs(z) < bound, d, 0.0) if bound > 0.0 else d
    held, inside = (np.clip(x, -r, r), np.abs(x) < r) if r > 0.0 else (x, np.ones_like(x, bool))
    of_rows = np.where(inside, (passed * s) @ w, 0.0)
    # The adjoint of cutting rows, by counting where each element of a row came from.
    numbers = np.arange(layer.x.size, dtype=np.float64).reshape(layer.x.shape)
    places = rows_of(numbers, layer.geometry).astype(np.int64).ravel()
    dx = np.bincount(places, of_rows.ravel(), layer.x.size).reshape(layer.x.shape)
    result = {"dx": dx, "dw": passed.T @ held, "db": d.sum(0)}
    if r > 0.0:
        result["dr"] = np.array([(d * z * s).sum() - (of_rows * np.where(inside, x, 0.0)).sum() / r])
    return result


@pytest.mark.parametrize("last", [False, True], ids=["", "channels last"])
@pytest.mark.parametrize("bound", [0.0, 1.0])
@pytest.mark.parametrize("r", [0.0, 1.25, 9.0])
@pytest.mark.parametrize("shape", SHAPES)
def test_gradients_are_those_of_the_closed_form(shape: str, r: float, bound: float, last: bool) -> None:
    layer = Layer(shape, last)
    for scale in (None, layer.scale[:1], layer.scale):
        _, z, copy, *_ = layer.run(CHAINS["plain"], r, scale, None, modifier())
        expected = closed_form(layer, copy, z, r, scale, bound)
        for left_out in (None, "dx", "dw", "db", "dr"):
            wanted = {} if left_out is None else {left_out: False}
            found = gradients(layer, copy, z, r, scale, bound=bound, **wanted)
            assert set(found) == set(expected) - {left_out}
            for name, values in found.items():
                # Sums of at most 5184 terms, of magnitudes up to about 3: each rounded to 2^-24 of the partial sum.
                scale_of = np.abs(expected[name]).max() + 1.0
                np.testing.assert_allclose(values, expected[name], rtol=0, atol=2e-5 * scale_of, err_msg=name)


@pytest.mark.parametrize("last", [False, True], ids=["", "channels last"])
@pytest.mark.parametrize("shape", SHAPES)
def test_gradients_have_the_same_bits_everywhere(isa: str, threads: int, shape: str, last: bool) -> None:
    """Beside those of one thread on the first level."""
    layer = Layer(shape, last)
    _, z, copy, *_ = layer.run(CHAINS["plain"], 1.25, layer.scale, None, None)
    found = gradients(layer, copy, z, 1.25, layer.scale, bound=1.0)
    known = _bits.setdefault((shape, last), {name: values.copy() for name, values in found.items()})
    for name, values in found.items():
        assert_same_bits(values, known[name], name)


_bits: dict[tuple[str, bool], dict[str, np.ndarray]] = {}


def test_the_decay_counts_every_use_of_an_input() -> None:
    """A pixel that is clipped counts in all patches that it is in."""
    layer = Layer("2d")
    layer.x *= np.float32(0.1)
    layer.x[:, :, 5, 5] = 3.0
    rows = rows_of(layer.x, layer.geometry)
    share = float((np.abs(rows) >= 1.25).mean())
    z, copy = np.zeros((len(rows), OUT), np.float32), layer.w
    for layer.last in (False, True):
        plain = gradients(layer, copy, z, 1.25, None)["dr"]
        for inside, added in ((1.0 - share - 1e-6, 0.5 * 1.25), (1.0 - share + 1e-6, 0.0)):
            found = gradients(layer, copy, z, 1.25, None, decay=0.5, share=inside)["dr"]
            np.testing.assert_allclose(found - plain, added, atol=1e-3)


def test_infinite_inputs_are_clipped_and_nan_is_refused() -> None:
    for shape in ("rows", "2d"):
        layer = Layer(shape)
        layer.x.ravel()[5] = np.inf
        y, z, copy, largest, _ = layer.run(CHAINS["plain"], 1.25, None, None, None)
        assert largest == np.inf
        assert np.isfinite(y).all()
        assert all(np.isfinite(values).all() for values in gradients(layer, copy, z, 1.25, None).values())
        for value, r in ((np.nan, 1.25), (np.inf, 0.0)):
            layer.x.ravel()[5] = value
            with pytest.raises(NonFiniteError, match="x contains NaN or infinity; nothing was computed"):
                layer.run(CHAINS["plain"], r, None, None, None)


def test_gradients_that_are_not_finite_go_on() -> None:
    layer = Layer("2d")
    layer.d[3, 2] = np.inf
    found = gradients(layer, layer.w, np.zeros((len(layer.d), OUT), np.float32), 0.0, None)
    assert all(not np.isfinite(values).all() for values in found.values())


def test_no_samples() -> None:
    layer = Layer("2d")
    layer.x, layer.rows, layer.d = layer.x[:0], layer.rows[:0], layer.d[:0]
    layer.run(CHAINS["plain"], 1.25, layer.scale, layer.bias, modifier())
    found = gradients(layer, layer.w, np.zeros((0, OUT), np.float32), 1.25, None)
    assert not any(values.any() for values in found.values())


def test_no_samples_and_no_memory() -> None:
    """Frameworks give the address 0 for what is empty."""
    kernel, shape, made = layers.Kernel(*SHAPES["2d"][1]), (0, 3, 12, 11), Layer("2d").chain(CHAINS["plain"])
    w, db, dr = np.ones((OUT, 75), np.float32), np.ones(OUT, np.float32), np.ones(1, np.float32)
    dw, copy = np.ones_like(w), w.copy()
    noise = (derive_seed(SEED), 0, OFFSET, False)
    made.layer(0, shape, False, kernel, w, None, 0, 1.25, None, None, *noise, copy, 0, 0)
    given = (0, 0, shape, False, copy, OUT, None, 0, 0, 1.0, 1.25, False)
    layers.layer_gradients(kernel, *given, 0.0, 0.5, 0, dw, db, dr)
    assert not any(values.any() for values in (dw, db, dr))


def test_shapes_that_do_not_fit() -> None:
    layer = Layer("2d")
    made, y = layer.chain(CHAINS["plain"]), np.zeros((len(layer.rows), OUT), np.float32)

    def run(shape: tuple[int, ...] = layer.x.shape, kernel: Any = layer.kernel, **other: Any) -> None:
        given = {"x": layer.x, "z": y, "y": y, "scale": None, "n_scales": 0, "copy": layer.w, **other}
        rest = {"range": 0.0, "bias": None, "modifier": None, "seed": 1, "step": 0, "first_sample": 0}
        made.layer(shape=shape, channels_last=False, kernel=kernel, weights=layer.w, freeze_mean=False, **rest, **given)

    scales = {"scale": layer.scale[:2].copy(), "n_scales": 2}
    for call, message in (
        (lambda: run(x=layer.x[1:]), "x must have 1584 elements, not 1188"),
        (lambda: run((4, 2, 12, 11)), "75 elements, not 50"),
        (lambda: run((4, 3, 12, 3)), "the kernel is larger than the padded images"),
        (lambda: run(kernel=layers.ROWS), "one axis for samples"),
        (lambda: run(y=y[1:]), "y must have"),
        (lambda: run(**scales), "one scale per output"),
        (lambda: run(scale=layer.scale, n_scales=OUT, copy=None), "a copy of the weights is needed"),
    ):
        with pytest.raises(ShapeError, match=message):
            call()


@pytest.mark.parametrize("kind", list(c.WeightClipType))
@pytest.mark.parametrize("scaled", ["none", "one", "each"])
def test_weights_are_held_in_place(isa: str, threads: int, kind: c.WeightClipType, scaled: str) -> None:
    rng = np.random.default_rng(1)
    w = rng.standard_normal((7, 37)).astype(np.float32)
    each = rng.uniform(0.5, 2.0, 7).astype(np.float32) * np.where(rng.random(7) < 0.5, -1, 1).astype(np.float32)
    scales = {"none": None, "one": each[:1], "each": each}[scaled]
    s = np.float32(1.0) if scales is None else scales[:, None]
    clip = c.WeightClipParameter(type=kind, fixed_value=0.9, sigma=1.5)
    physical = w / s
    clipped = clip_weights(physical, clip)
    expected = np.where(clipped != physical, clipped * s, w)
    assert WeightClip(clip).hold(w, scales) is bool((clipped != physical).any())
    assert_same_bits(w, expected, "weights")
    w[0, 0] = np.nan
    before = w.copy()
    if kind is not c.WeightClipType.NONE:
        with pytest.raises(NonFiniteError):
            WeightClip(clip).hold(w, scales)
        assert_same_bits(w, before, "weights")
