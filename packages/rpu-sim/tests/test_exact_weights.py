"""Modified copies, clipping and remapping equal the NumPy oracle bit for bit."""

from __future__ import annotations

import functools
import pickle

import numpy as np
import pytest
from exact import assert_same_bits, shapes
from modifiers import MODIFIERS

from rpu_sim import WeightClip, clip_weights, derive_seed, modify_weights, remap_weights
from rpu_sim.config import WeightClipParameter, WeightClipType, WeightRemapParameter, WeightRemapType
from rpu_sim.reference import weight_ops as oracle

LARGE = (70, 300)  # more than one block of rows for the threads

CLIPS = {
    "none": WeightClipParameter(),
    "fixed": WeightClipParameter(type=WeightClipType.FIXED_VALUE, fixed_value=0.3),
    "fixed-off": WeightClipParameter(type=WeightClipType.FIXED_VALUE),
    "gaussian": WeightClipParameter(type=WeightClipType.LAYER_GAUSSIAN, sigma=1.2),
    "gaussian-limited": WeightClipParameter(type=WeightClipType.LAYER_GAUSSIAN, fixed_value=0.2),
    "channel": WeightClipParameter(type=WeightClipType.AVERAGE_CHANNEL_MAX),
}

REMAPS = {
    "none": WeightRemapParameter(),
    "layer": WeightRemapParameter(type=WeightRemapType.LAYERWISE_SYMMETRIC),
    "layer-wmax": WeightRemapParameter(type=WeightRemapType.LAYERWISE_SYMMETRIC, remapped_wmax=0.6),
    "channel": WeightRemapParameter(type=WeightRemapType.CHANNELWISE_SYMMETRIC, remapped_wmax=0.7),
    "channel-range": WeightRemapParameter(
        type=WeightRemapType.CHANNELWISE_SYMMETRIC, max_scale_range=1.2, max_scale_ref=0.2
    ),
}


@functools.cache
def matrix(shape: tuple[int, int]) -> np.ndarray:
    """Normal weights with zeros of both signs and, if there are several, an output of zeros."""
    rng = np.random.default_rng(shape)
    w = (0.3 * rng.standard_normal(shape)).astype(np.float32)
    w[rng.random(shape) < 0.1] = 0.0
    w[rng.random(shape) < 0.1] = -0.0
    if shape[0] > 2:
        w[1] = 0.0
    return w


@functools.cache
def oracle_copy(shape: tuple[int, int], name: str, step: int, sample: int) -> np.ndarray:
    return oracle.modify(matrix(shape), MODIFIERS[name], step, derive_seed(5), sample)


@pytest.mark.parametrize("name", MODIFIERS)
def test_modified_copy(isa: str, threads: int, name: str) -> None:
    for shape in [*shapes(isa), LARGE]:
        copy = modify_weights(matrix(shape), MODIFIERS[name], seed=5, step=3)
        assert_same_bits(copy, oracle_copy(shape, name, 3, 0), f"{name} {shape}")


@pytest.mark.parametrize("name", ["add-normal-assumed", "pcm-events"])
def test_copies_of_samples(isa: str, threads: int, name: str) -> None:
    w = matrix(LARGE)
    copies = modify_weights(w, MODIFIERS[name], seed=5, step=1, samples=3, sample_offset=8)
    expected = np.stack([oracle_copy(LARGE, name, 1, sample) for sample in (8, 9, 10)])
    assert_same_bits(copies, expected, name)


@pytest.mark.parametrize("name", CLIPS)
def test_clip(isa: str, threads: int, name: str) -> None:
    for shape in [*shapes(isa), LARGE]:
        expected = oracle.clip(matrix(shape), CLIPS[name])
        assert_same_bits(clip_weights(matrix(shape), CLIPS[name]), expected, f"{shape}")
        clip = pickle.loads(pickle.dumps(WeightClip(CLIPS[name])))
        assert clip.leaves(matrix(shape)) == np.array_equal(matrix(shape), expected)


@pytest.mark.parametrize("name", REMAPS)
def test_remap(isa: str, threads: int, name: str) -> None:
    for shape in [*shapes(isa), LARGE]:
        scales = np.random.default_rng(shape).uniform(0.1, 1.0, shape[0]).astype(np.float32)
        w, new = remap_weights(matrix(shape), scales, REMAPS[name])
        expected_w, expected_new = oracle.remap(matrix(shape), scales, REMAPS[name])
        assert_same_bits(w, expected_w, f"weights {shape}")
        assert_same_bits(new, expected_new, f"scales {shape}")


def test_strided_weights(isa: str) -> None:
    w = matrix(LARGE)
    wide = np.repeat(w, 2, axis=1)[:, ::2]
    rows = np.zeros((LARGE[0], LARGE[1] + 5), np.float32)
    rows[:, :-5] = w
    for view in (wide, rows[:, :-5], np.asfortranarray(w), w[::-1][::-1]):
        copy = modify_weights(view, MODIFIERS["pcm"], seed=5, step=3)
        assert_same_bits(copy, oracle_copy(LARGE, "pcm", 3, 0), "strided")
