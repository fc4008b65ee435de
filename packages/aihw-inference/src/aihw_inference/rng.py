"""Seeded generators. Both kinds are immutable keys: what they draw is a function of the key and of what is asked for.

`Philox` gives the same numbers on every array library and device; `Native` uses the library's own generator, which
is faster on some of them and reproducible on one library and device only. Neither reads or changes a global state.
"""

from __future__ import annotations

import hashlib
import operator
import struct
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import array_api_compat as compat
import array_api_compat.numpy as host
import numpy as np

from .arrays import GROUP, Block
from .errors import BackendError, ConfigError
from .philox import normal_pair, philox4x32, word_arithmetic

Array = Any

PROGRAMMING, DRIFT, READ = "programming", "drift", "read"  # the random streams


def derive_seed(seed: int, *path: str | int | float) -> int:
    """A 64-bit seed that depends on `seed` and on every element of `path` (BLAKE2b; stable across versions)."""
    digest = hashlib.blake2b(struct.pack("<Q", seed), digest_size=8)
    for part in path:
        if isinstance(part, float):
            digest.update(b"f" + struct.pack("<d", part + 0.0))  # + 0.0 merges -0.0 with 0.0
        else:
            text = str(part).encode()
            digest.update((b"s" if isinstance(part, str) else b"i") + struct.pack("<Q", len(text)) + text)
    return int.from_bytes(digest.digest(), "little")


@dataclass(frozen=True)
class Draw:
    """What a set of normals is for; two different draws of one generator are independent.

    Attributes:
        stream: purpose, such as "programming".
        time: inference time in seconds, 0.0 where there is none.
        repeat: number of the repetition, below 2**32.
    """

    stream: str
    time: float = 0.0
    repeat: int = 0


@dataclass(frozen=True)
class Generator(ABC):
    """An immutable seeded key.

    Attributes:
        seed: integer, 0 <= seed < 2**64.
    """

    seed: int = 0

    def __post_init__(self) -> None:
        try:
            seed = operator.index(self.seed)
        except TypeError:
            seed = -1
        if isinstance(self.seed, bool) or not 0 <= seed < 2**64:
            raise ConfigError(f"A seed must be an integer from 0 to 2**64 - 1, got {self.seed!r}.")
        object.__setattr__(self, "seed", seed)

    def fold(self, *path: str | int) -> Self:
        """The generator of a part, for instance `rng.fold("encoder", 3)` for one layer; independent of this one."""
        return type(self)(derive_seed(self.seed, *path))

    @abstractmethod
    def normal(self, xp: Any, draw: Draw, block: Block, n_devices: int, dtype: Any, device: Any) -> Array:
        """Standard normals [n_devices, chips of the block, elements of the block] of the array namespace `xp`."""

    def normal_like(self, x: Array, draw: Draw) -> Array:
        """Standard normals of the shape, dtype and device of `x`."""
        xp = compat.array_namespace(x)
        block = Block(range(1), 0, compat.size(x) or 0)
        return xp.reshape(self.normal(xp, draw, block, 1, x.dtype, compat.device(x)), x.shape)


@dataclass(frozen=True)
class Philox(Generator):
    """Philox4x32-10: the same numbers on every array library, device, block size and chip order.

    Counter words: {element / 64 * 16 + element % 16, chip, device of the weight, repetition}; word k of a counter
    serves column 16 k + j of its group of 64 elements. The key mixes seed, stream and time.
    """

    def normal(self, xp: Any, draw: Draw, block: Block, n_devices: int, dtype: Any, device: Any) -> Array:
        if compat.is_torch_namespace(xp) and str(device) == "cpu":
            # NumPy has the same bits and needs half the time for these small operations.
            normals = self._drawn(host, draw, block, n_devices, np.float32, "cpu")
            return sys.modules["torch"].from_numpy(normals).to(dtype)
        return self._drawn(xp, draw, block, n_devices, dtype, device)

    def _drawn(self, xp: Any, draw: Draw, block: Block, n_devices: int, dtype: Any, device: Any) -> Array:
        arithmetic = word_arithmetic(xp, device)
        count = block.stop - block.start
        groups = -(-count // GROUP)

        def words(start: int, stop: int, shape: tuple[int, ...]) -> Array:
            return xp.reshape(xp.arange(start, stop, dtype=arithmetic.dtype, device=device), shape)

        first = block.start // GROUP * 16
        counter = (
            words(first, first + groups * 16, (1, 1, groups, 16)),
            words(block.chips.start, block.chips.stop, (1, len(block.chips), 1, 1)),
            words(0, n_devices, (n_devices, 1, 1, 1)),
            words(draw.repeat, draw.repeat + 1, (1, 1, 1, 1)),
        )
        bits = philox4x32(counter, derive_seed(self.seed, draw.stream, draw.time), arithmetic)
        normals = xp.stack([*normal_pair(xp, bits[0], bits[1]), *normal_pair(xp, bits[2], bits[3])], axis=-2)
        flat = xp.reshape(normals, (n_devices, len(block.chips), groups * GROUP))
        return xp.astype(flat[:, :, :count], dtype, copy=False)


@dataclass(frozen=True)
class Native(Generator):
    """The array library's own generator: NumPy (SFC64), torch, JAX or CuPy.

    Reproducible for one library, version, device and shape. Raises BackendError for a library without one.
    """

    def normal(self, xp: Any, draw: Draw, block: Block, n_devices: int, dtype: Any, device: Any) -> Array:
        seed = derive_seed(self.seed, draw.stream, draw.time, draw.repeat, block.chips.start, block.start)
        shape = (n_devices, len(block.chips), block.stop - block.start)
        for matches, draw_normal in _NATIVE:
            if matches(xp):
                return draw_normal(seed, shape, dtype, device)
        raise BackendError(f"{xp.__name__} has no generator that Native knows; use Philox(seed).")


def as_generator(rng: Generator | int) -> Generator:
    """`rng` itself, or Philox(rng) for an integer seed; raises ConfigError otherwise."""
    return rng if isinstance(rng, Generator) else Philox(rng)


def _numpy_normal(seed: int, shape: tuple[int, ...], dtype: Any, device: Any) -> Array:
    return np.random.Generator(np.random.SFC64(seed)).standard_normal(shape, dtype=dtype)


def _torch_normal(seed: int, shape: tuple[int, ...], dtype: Any, device: Any) -> Array:
    torch = sys.modules["torch"]  # loaded: the caller holds one of its arrays
    generator = torch.Generator(device=device).manual_seed(seed >> 1)
    return torch.randn(shape, generator=generator, dtype=dtype, device=device)


def _jax_normal(seed: int, shape: tuple[int, ...], dtype: Any, device: Any) -> Array:
    from jax import device_put, random

    key = random.fold_in(random.key(seed >> 33), seed & 0xFFFFFFFF)
    return device_put(random.normal(key, shape, dtype), device)


def _cupy_normal(seed: int, shape: tuple[int, ...], dtype: Any, device: Any) -> Array:
    cupy = sys.modules["cupy"]
    with device:
        return cupy.random.Generator(cupy.random.XORWOW(seed)).standard_normal(shape, dtype=dtype)


_NATIVE: tuple[tuple[Callable[[Any], bool], Callable[[int, tuple[int, ...], Any, Any], Array]], ...] = (
    (compat.is_numpy_namespace, _numpy_normal),
    (compat.is_torch_namespace, _torch_normal),
    (compat.is_jax_namespace, _jax_normal),
    (compat.is_cupy_namespace, _cupy_normal),
)
