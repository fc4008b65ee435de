"""Seeds of tiles, taken from torch's random state so that `torch.manual_seed` makes a run repeatable."""

from __future__ import annotations

import hashlib

import torch

import rpu_sim


def torch_seed() -> int:
    """Return a 64-bit seed made of `torch.initial_seed()` and the state of the CPU generator, which is not advanced.

    Two calls without a draw between them return the same number: give one of the tiles an explicit `seed`, or use
    layers, whose initial weights are draws.
    """
    state = torch.get_rng_state().numpy().tobytes()
    position = int.from_bytes(hashlib.blake2b(state, digest_size=8).digest(), "little")
    return rpu_sim.derive_seed(torch.initial_seed(), position)


def tile_seed(seed: int | None, index: int) -> int:
    """Return the seed of the tile number `index` of a layer; `seed=None` asks torch (see `torch_seed`)."""
    return rpu_sim.derive_seed(torch_seed() if seed is None else seed, index)
