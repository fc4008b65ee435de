"""Saved state of a tile: encoding, and the checks that keep a damaged one from reaching the tile."""

from __future__ import annotations

import json
import math
import operator
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .config import RPUConfigBase, from_dict, to_dict
from .errors import ConfigError, DtypeError, NonFiniteError, RpuError, ShapeError, StateError
from .gpu import host

FORMAT = "rpu_sim.tile"
VERSION = 1
COUNTS = "pulses.cell"  # up and down pulses of every crosspoint, int64 [2, out, in]


def integer(value: Any, name: str) -> int:
    """``value`` as an int, which NumPy integers are too.

    Raises:
        ConfigError: for anything else.
    """
    try:
        return operator.index(value)
    except TypeError:
        raise ConfigError(f"{name} must be an integer, not {value!r}") from None


def check_finite(value: float, name: str) -> None:
    """Raise unless ``value`` is a finite number in the range of float32."""
    try:
        finite = math.isfinite(value)
    except TypeError:
        raise DtypeError(f"{name} must be a number, not {type(value).__name__}") from None
    except OverflowError:
        raise NonFiniteError(f"{name} is beyond the range of float32; give a smaller number") from None
    if not finite or abs(value) > 3e38:
        raise NonFiniteError(f"{name} is {value}; it must be finite")


def check_form(values: NDArray[Any], shape: tuple[int, ...], name: str) -> None:
    """Raise unless ``values`` is a float32 array of ``shape``."""
    if values.dtype != np.float32:
        raise DtypeError(f"{name} has dtype {values.dtype} but tiles keep float32; convert it first")
    if values.shape != shape:
        raise ShapeError(f"{name} has shape {tuple(values.shape)} but must have shape {tuple(shape)}")


def check_array(values: NDArray[Any], shape: tuple[int, ...], name: str) -> None:
    """Raise unless ``values`` is a finite float32 array of ``shape``."""
    check_form(values, shape, name)
    if not np.isfinite(values).all():
        raise NonFiniteError(f"{name} contains NaN or infinity; the tile was left unchanged")


def check_samples(values: NDArray[Any], name: str) -> None:
    """Raise unless every element of a batch, which may be windows of a smaller array, is finite."""
    if not all(np.isfinite(part).all() for part in (values if values.ndim > 2 else [values])):
        raise NonFiniteError(f"{name} contains NaN or infinity; the weights were left unchanged")


def check_bounds(fields: dict[str, NDArray[Any]]) -> None:
    """Raise when a lower bound exceeds its upper bound."""
    if (fields["min_bound"] > fields["max_bound"]).any():
        raise StateError("some min_bound exceeds its max_bound; the tile was left unchanged")


def encode_meta(config: RPUConfigBase) -> NDArray[np.uint8]:
    """The configuration and format version as JSON bytes."""
    meta = {"format": FORMAT, "version": VERSION, "config": to_dict(config)}
    return np.frombuffer(json.dumps(meta, sort_keys=True).encode(), np.uint8).copy()


def as_arrays(saved: Any) -> dict[str, NDArray[Any]]:
    """NumPy views of the arrays of a saved state, or copies from a GPU."""
    if not isinstance(saved, Mapping) or not all(isinstance(name, str) for name in saved):
        raise StateError("a state is a dict of arrays by name; save it with Tile.state_dict()")
    return {name: host(values, name) for name, values in saved.items()}


def decode_meta(arrays: dict[str, NDArray[Any]]) -> Any:
    """The configuration stored in a state."""
    try:
        meta = json.loads(arrays["meta"].tobytes().decode())
        if meta["format"] != FORMAT:
            raise ValueError(meta["format"])
        version, config = meta["version"], meta["config"]
        if not isinstance(config, dict):
            raise TypeError(config)
    except (KeyError, ValueError, TypeError, AttributeError):
        raise StateError("this is not the state of a tile, or it is damaged; save it with Tile.state_dict()") from None
    if version != VERSION:
        raise StateError(f"the state has version {version} but this rpu_sim reads version {VERSION}; update rpu_sim")
    try:
        return from_dict(config)
    except RpuError as error:
        raise StateError(f"the stored configuration cannot be read: {error}") from None


def signed(seed: int) -> NDArray[np.int64]:
    """A 64-bit seed as an int64 array."""
    return np.array(((seed + (1 << 63)) % (1 << 64)) - (1 << 63), np.int64)


def step_counters(steps: dict[str, int]) -> dict[str, NDArray[np.int64]]:
    """Call counters as int64 arrays."""
    return {f"step.{kind}": np.array(n, np.int64) for kind, n in steps.items()}


def check_names(arrays: dict[str, NDArray[Any]], expected: set[str]) -> None:
    """Raise `StateError` unless there are exactly the arrays that this tile needs."""
    if missing := expected - arrays.keys():
        raise StateError(f"the state lacks {', '.join(sorted(missing))}; it is damaged or of another device")
    if unknown := arrays.keys() - expected:
        raise StateError(f"the state holds {', '.join(sorted(unknown))}, which this device does not have")


def check_cells(values: NDArray[Any], shape: tuple[int, ...], name: str, *, shared: bool) -> None:
    """Raise `StateError` unless ``values`` may be per-cell numbers, or with ``shared`` one number for all cells."""
    if values.dtype != np.float32 or np.isnan(values).any():
        raise StateError(f"{name} in the state is damaged: it must be float32 without NaN")
    if values.shape != shape and not (shared and values.shape == (1, 1)):
        raise StateError(f"{name} in the state has shape {tuple(values.shape)} but the tile has {tuple(shape)}")


def check_numbers(values: NDArray[Any], shape: tuple[int, ...], name: str) -> None:
    """Raise `StateError` unless ``values`` are finite float32 of this shape."""
    if values.dtype != np.float32 or values.shape != shape or not np.isfinite(values).all():
        raise StateError(f"{name} in the state is damaged: it must be finite float32 of shape {shape}")


def check_counts(values: NDArray[Any], shape: tuple[int, ...], name: str) -> None:
    """Raise `StateError` unless ``values`` are int64 of this shape that can count on from here."""
    check_integers(values, shape, name)
    if (values < 0).any() or (values > 1 << 62).any():
        raise StateError(f"{name} in the state is damaged: a count lies in 0..2**62")


def check_integers(values: NDArray[Any], shape: tuple[int, ...], name: str) -> None:
    """Raise `StateError` unless ``values`` are int64 of this shape."""
    if values.dtype != np.int64 or values.shape != shape:
        what = "one int64" if shape == () else f"int64 of shape {shape}"
        raise StateError(f"{name} in the state is damaged: it must be {what}")
