"""Philox4x32-10 and the addressing of draws (``core/rng.hpp``)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..streams import Stream
from .fmath import f32, normal2

U32 = NDArray[np.uint32]
Float32 = NDArray[np.float32]

GROUP = 64
CALLS = 16  # Philox calls of a group of 64 columns
_LOW = np.uint64(0xFFFFFFFF)
_SHIFT = np.uint64(32)


def philox4x32(counter: list[U32], key: tuple[int, int]) -> list[U32]:
    """Ten rounds on four counter words of equal shape."""
    c = [np.asarray(word, np.uint32) for word in counter]
    k0, k1 = key
    for _ in range(10):
        p0 = c[0].astype(np.uint64) * np.uint64(0xD2511F53)
        p1 = c[2].astype(np.uint64) * np.uint64(0xCD9E8D57)
        h0, h1 = (p0 >> _SHIFT).astype(np.uint32), (p1 >> _SHIFT).astype(np.uint32)
        l0, l1 = (p0 & _LOW).astype(np.uint32), (p1 & _LOW).astype(np.uint32)
        c = [h1 ^ c[1] ^ np.uint32(k0), l1, h0 ^ c[3] ^ np.uint32(k1), l0]
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return c


def draw(index: U32, sample: int | U32, step: int, stream: Stream, number: int | U32, key: int) -> list[U32]:
    """Four words for each element of ``index``."""
    shape = np.broadcast_shapes(np.shape(index), np.shape(sample), np.shape(number))
    last = np.asarray(number, np.uint32) | np.uint32(int(stream) << 24)
    words = [index, np.asarray(sample, np.uint32), np.asarray(step, np.uint32), last]
    return philox4x32([np.broadcast_to(w, shape) for w in words], (key & 0xFFFFFFFF, key >> 32))


def _split(columns: int) -> tuple[U32, NDArray[np.int64]]:
    """Call index within a row and word number of each column: column 64 g + 16 k + j takes word k of call 16 g + j."""
    col = np.arange(columns)
    return (col // GROUP * CALLS + col % CALLS).astype(np.uint32), col % GROUP // CALLS


def _row_index(rows: int, columns: int) -> U32:
    call, _ = _split(columns)
    groups = (columns + GROUP - 1) // GROUP
    return (np.arange(rows, dtype=np.uint32)[:, None] * np.uint32(groups * CALLS) + call).astype(np.uint32)


def words(rows: int, columns: int, step: int, stream: Stream, number: int, key: int, sample: int | U32 = 0) -> U32:
    """One word for each cell of a matrix."""
    _, word = _split(columns)
    four = draw(_row_index(rows, columns), sample, step, stream, number, key)
    return np.choose(word[None, :], four).astype(np.uint32)


def uniforms(
    rows: int, columns: int, step: int, stream: Stream, number: int, key: int, sample: int | U32 = 0
) -> Float32:
    """One uniform in [0, 1) for each cell of a matrix."""
    return uniform(words(rows, columns, step, stream, number, key, sample))


def normals(
    rows: int, columns: int, step: int, stream: Stream, number: int, key: int, sample: int | U32 = 0
) -> Float32:
    """One standard normal for each cell of a matrix."""
    _, word = _split(columns)
    four = draw(_row_index(rows, columns), sample, step, stream, number, key)
    return np.choose(word[None, :], [*normal2(four[0], four[1]), *normal2(four[2], four[3])]).astype(np.float32)


def sample_words(samples: U32, columns: int, step: int, stream: Stream, number: int | U32, key: int) -> U32:
    """One word for each column of each sample (global sample indices); the number of the draw may be one per sample."""
    call, word = _split(columns)
    numbers = np.reshape(np.asarray(number, np.uint32), (-1, 1))
    four = draw(np.broadcast_to(call, (len(samples), columns)), samples[:, None], step, stream, numbers, key)
    return np.choose(word[None, :], four).astype(np.uint32)


def sample_normals(samples: U32, columns: int, step: int, stream: Stream, number: int, key: int) -> Float32:
    """One standard normal for each column of each sample."""
    call, word = _split(columns)
    four = draw(np.broadcast_to(call, (len(samples), columns)), samples[:, None], step, stream, number, key)
    return np.choose(word[None, :], [*normal2(four[0], four[1]), *normal2(four[2], four[3])]).astype(np.float32)


def uniform(word: U32) -> Float32:
    """Uniform in [0, 1) from the top 24 bits."""
    return (word >> np.uint32(8)).astype(np.float32) * f32(2.0**-24)
