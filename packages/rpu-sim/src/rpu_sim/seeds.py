"""Seeds: one 64-bit number names a chip; parts of it (sub-arrays, tiles of a layer) get seeds derived by path."""

from __future__ import annotations

import hashlib

from .errors import ConfigError

_MASK = (1 << 64) - 1


def derive_seed(seed: int, *path: str | int) -> int:
    """A 64-bit seed that depends on ``seed`` and every element of ``path``.

    The same arguments always give the same seed, on every machine and version; different paths give unrelated seeds.
    Without a path the seed itself is mixed, so that neighbouring seeds give unrelated numbers.
    """
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise ConfigError(f"a seed must be an integer, not {seed!r}")
    digest = hashlib.blake2b((seed & _MASK).to_bytes(8, "little"), digest_size=8)
    for part in path:
        name = f"i{part}" if isinstance(part, int) else f"s{part}"
        digest.update(len(name).to_bytes(4, "little") + name.encode())
    return int.from_bytes(digest.digest(), "little")
