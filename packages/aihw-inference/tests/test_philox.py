"""The generator: published vectors, equality on all libraries, and the distribution of its normals."""

from __future__ import annotations

import math

import numpy as np
import pytest
from array_api_compat import array_namespace, device

from aihw_inference import Native, Philox
from aihw_inference.arrays import Block
from aihw_inference.errors import BackendError, ConfigError
from aihw_inference.philox import narrow_arithmetic, normal_pair, philox4x32, word_arithmetic
from aihw_inference.rng import Draw, derive_seed

from .backends import Backend

# Random123 1.14, kat_vectors: counter, key, result of philox4x32_10
KNOWN_ANSWERS = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


@pytest.mark.parametrize("arithmetic", [word_arithmetic, narrow_arithmetic])
@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN_ANSWERS)
def test_known_answers(backend: Backend, arithmetic, counter, key, expected):
    if backend.name == "torch" and arithmetic is narrow_arithmetic:
        arithmetic = word_arithmetic  # torch has 64-bit integers and does not shift uint32
    sample = backend.array(np.zeros(1, np.float32))
    xp = array_namespace(sample)
    words = arithmetic(xp, device(sample))
    counter_arrays = tuple(xp.asarray([c], dtype=words.dtype) for c in counter)
    result = philox4x32(counter_arrays, key[0] | key[1] << 32, words)
    assert tuple(int(w[0]) for w in result) == expected


def _float_bits_normal_pair(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Box-Muller with exponents taken from the bits of a float: a second implementation, to the last bit."""
    f, u = np.float32, np.uint32
    x = ((a >> u(8)).astype(f) + f(1)) * f(2.0**-24)
    bits = x.view(u)
    e = (bits - u(0x3F3504F3)).view(np.int32) >> 23
    m = (bits - (e.view(u) << u(23))).view(f) - f(1)
    z = m * m
    y = m * f(7.0376836292e-2) - f(1.1514610310e-1)
    for s in (1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1, -1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1):
        y = y * m + f(s)
    y = (y * m + f(3.3333331174e-1)) * m * z
    y = y + e.astype(f) * f(-2.12194440e-4) - f(0.5) * z
    radius = np.sqrt(((m + y) + e.astype(f) * f(0.693359375)) * f(-2))
    turns = (b >> u(8)).astype(f) * f(2.0**-24)
    q = (turns * f(4) + f(0.5)).astype(np.int32)
    x = (turns - q.astype(f) * f(0.25)) * f(6.2831853)
    z = x * x
    s = ((z * f(-1.9515295891e-4) + f(8.3321608736e-3)) * z - f(1.6666654611e-1)) * z * x + x
    c = ((z * f(2.443315711809948e-5) - f(1.388731625493765e-3)) * z + f(4.166664568298827e-2)) * z * z - f(0.5) * z
    c = c + f(1)
    sine = np.where(q & 1, c, s) * np.where(q & 2, f(-1), f(1))
    cosine = np.where(q & 1, s, c) * np.where((q + 1) & 2, f(-1), f(1))
    return radius * cosine, radius * sine


def test_normals_bit_for_bit_on_every_library(backend: Backend):
    rng = np.random.default_rng(0)
    words = rng.integers(0, 2**32, (2, 100_000), dtype=np.uint32)
    words[:, :6] = [0, 0xFF, 0x100, 0xFFFFFFFF, 0x7FFFFFFF, 0x80000000]
    sample = backend.array(np.zeros(1, np.float32))
    xp = array_namespace(sample)
    dtype = word_arithmetic(xp, device(sample)).dtype
    a, b = (
        xp.asarray(backend.array(w.astype(np.int64 if backend.name == "torch" else np.uint32)), dtype=dtype)
        for w in words
    )
    for mine, expected in zip(normal_pair(xp, a, b), _float_bits_normal_pair(*words), strict=True):
        assert np.array_equal(backend.numpy(mine).view(np.uint32), expected.view(np.uint32))


def test_normals_against_exact_box_muller():
    words = np.random.default_rng(1).integers(0, 2**32, (2, 200_000), dtype=np.uint64)
    radius = np.sqrt(-2.0 * np.log(((words[0] >> 8) + 1) / 2.0**24))
    angle = 2.0 * np.pi * (words[1] >> 8) / 2.0**24
    xp = array_namespace(words)
    cosine, sine = normal_pair(xp, words[0], words[1])
    assert np.abs(cosine - radius * np.cos(angle)).max() < 2e-6
    assert np.abs(sine - radius * np.sin(angle)).max() < 2e-6


def _normals(backend: Backend, rng: Philox | Native, draw: Draw, block: Block, n_devices: int) -> np.ndarray:
    sample = backend.array(np.zeros(1, np.float32))
    xp = array_namespace(sample)
    return backend.numpy(rng.normal(xp, draw, block, n_devices, xp.float32, device(sample)))


def test_same_normals_on_every_library(backend: Backend):
    expected = _normals(Backend("numpy", np.asarray), Philox(11), Draw("read", 60.0, 2), Block(range(3, 5), 64, 300), 2)
    mine = _normals(backend, Philox(11), Draw("read", 60.0, 2), Block(range(3, 5), 64, 300), 2)
    assert mine.dtype == np.float32
    assert mine.shape == (2, 2, 236)
    assert np.array_equal(mine, expected)


def test_a_draw_does_not_depend_on_the_block(backend: Backend):
    whole = _normals(backend, Philox(5), Draw("drift"), Block(range(4), 0, 500), 3)
    part = _normals(backend, Philox(5), Draw("drift"), Block(range(1, 3), 128, 320), 3)
    assert np.array_equal(whole[:, 1:3, 128:320], part)


@pytest.mark.parametrize("rng", [Philox(1), Native(1)], ids=["philox", "native"])
def test_distribution_and_independence(native_backend: Backend, rng):
    """n = 960 000. |mean| and each |correlation| 5 sigma = 5/sqrt(n) (detects 0.5 %); std, skewness and kurtosis 5
    sigma (detect 0.4 %, 1.3 %, 2.5 %); Kolmogorov-Smirnov at 1e-6. False alarm below 1e-5 in all.
    """
    x = _normals(native_backend, rng, Draw("programming"), Block(range(10), 0, 48_000), 2).astype(np.float64)
    flat, n = x.ravel(), x.size
    assert abs(flat.mean()) < 5.0 / math.sqrt(n)
    assert abs(flat.std() - 1.0) < 5.0 / math.sqrt(2 * n)
    assert abs((flat**3).mean()) < 5.0 * math.sqrt(15 / n)
    assert abs((flat**4).mean() - 3.0) < 5.0 * math.sqrt(96 / n)
    cdf = np.array([0.5 * math.erfc(-v / math.sqrt(2)) for v in np.sort(flat)[::8]])
    assert np.abs(cdf - (np.arange(cdf.size) * 8 + 0.5) / n).max() < math.sqrt(-0.5 * math.log(0.5e-6) / n) + 8 / n
    others = {
        "device": (x[0], x[1]),
        "chip": (x[:, :5], x[:, 5:]),
        "neighbour": (flat[1:], flat[:-1]),
        "group": (flat[64:], flat[:-64]),
        "word": (flat[16:], flat[:-16]),
    }
    for draw in (Draw("drift"), Draw("programming", 1.0), Draw("programming", 0.0, 1)):
        others[str(draw)] = x, _normals(native_backend, rng, draw, Block(range(10), 0, 48_000), 2)
    other_seed = type(rng)(2)
    others["seed"] = x, _normals(native_backend, other_seed, Draw("programming"), Block(range(10), 0, 48_000), 2)
    for name, (a, b) in others.items():
        assert abs((a * b).mean()) < 5.0 / math.sqrt(a.size), name
        assert abs((a**2 * b**2).mean() - 1.0) < 5.0 * math.sqrt(8 / a.size), name


def test_native_is_reproducible_and_leaves_global_generators_alone(native_backend: Backend):
    import torch

    np.random.seed(0)
    torch.manual_seed(0)
    before = np.random.get_state()[1].copy(), torch.get_rng_state()
    first, second = (_normals(native_backend, Native(3), Draw("read"), Block(range(2), 0, 100), 2) for _ in range(2))
    assert np.array_equal(first, second)
    assert np.array_equal(before[0], np.random.get_state()[1])
    assert torch.equal(before[1], torch.get_rng_state())


def test_native_names_a_library_without_generator():
    strict = pytest.importorskip("array_api_strict", reason="array_api_strict is not installed; pip install it")
    with pytest.raises(BackendError, match="use Philox"):
        Native(0).normal_like(strict.zeros(3, dtype=strict.float32), Draw("read"))


def test_streams_are_pinned():
    """Published results depend on these numbers: a change is a minor release and a line in the changelog."""
    assert derive_seed(0, "programming", 0.0) == 0xE14A18573B04602F
    drawn = Philox(0).normal_like(np.zeros(4, np.float32), Draw("programming"))
    assert drawn.tolist() == [0.11610990017652512, 0.020381180569529533, -0.8534560799598694, 0.7246381640434265]


def test_folding_and_seeds():
    assert Philox(7).fold("layer", 1) == Philox(derive_seed(7, "layer", 1))
    seeds = {Philox(7).fold(*path).seed for path in [(), ("a",), ("b",), ("a", 1), ("a1",), (1,), (2,), ("a", "1")]}
    assert len(seeds) == 8
    assert derive_seed(7, "read", -0.0) == derive_seed(7, "read", 0.0) != derive_seed(7, "read", 1.0)
    assert Philox(np.int64(7)) == Philox(7)
    assert Philox(7).fold(2**80) != Philox(7).fold(2**81)
    for bad in (-1, 2**64, 1.5, True, None):
        with pytest.raises(ConfigError, match="seed"):
            Philox(bad)
