"""Seeds: one 64-bit number names a chip; parts of it (sub-arrays, tiles of a layer) get seeds derived by path."""

from __future__ import annotations

import hashlib
import operator

from .errors import ConfigError

_MASK = (1 << 64) - 1


def derive_seed(seed: int, *path: str | int) -> int:
    """A 64-bit seed that depends on ``seed`` and every element of ``path``.

    The same arguments always give the same seed, on every machine and version; different paths give unrelated seeds.
    Without a path the seed itself is mixed, so that neighbouring seeds give unrelated numbers.
    """
    try:
        number = operator.index(seed)  # NumPy integers too
    except TypeError:
        number = None
    if number is None or isinstance(seed, bool):
        raise ConfigError(f"a seed must be an integer, not {seed!r}")
    digest = hashlib.blake2b((number & _MASK).to_bytes(8, "little"), digest_size=8)
    for part in path:
        name = f"i{part}" if isinstance(part, int) else f"s{part}"
        digest.update(len(name).to_bytes(4, "little") + name.encode())
    return int.from_bytes(digest.digest(), "little")
