"""Seeds of tiles, taken from torch's random state so that `torch.manual_seed` makes a run repeatable."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch

import rpu_sim

_given: ContextVar[Iterator[int] | None] = ContextVar("given_seeds", default=None)


@contextmanager
def from_seed(seed: int | None) -> Iterator[None]:
    """Let the tiles that are made inside of the block take their seeds from this one, in the order of their making.

    None takes the next number of torch's generator, unless a block around this one has given a seed.
    """
    if seed is None and _given.get() is not None:
        yield
        return
    start = int(torch.randint(1 << 62, (), dtype=torch.int64, device="cpu")) if seed is None else seed
    token = _given.set(rpu_sim.derive_seed(start, number) for number in itertools.count())
    try:
        yield
    finally:
        _given.reset(token)


def torch_seed() -> int:
    """Return a 64-bit seed made of `torch.initial_seed()` and the state of the CPU generator, which is not advanced.

    Two calls without a draw between them return the same number: give one of the tiles an explicit `seed`, use layers,
    whose initial weights are draws, or `from_seed`, which has precedence.
    """
    given = _given.get()
    if given is not None:
        return next(given)
    state = torch.get_rng_state().numpy().tobytes()
    position = int.from_bytes(hashlib.blake2b(state, digest_size=8).digest(), "little")
    return rpu_sim.derive_seed(torch.initial_seed(), position)


def tile_seed(seed: int | None, index: int) -> int:
    """Return the seed of the tile number `index` of a layer; `seed=None` asks torch (see `torch_seed`)."""
    return rpu_sim.derive_seed(torch_seed() if seed is None else seed, index)
