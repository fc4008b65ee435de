"""A stand-in for CuPy on machines without a GPU: arrays of NumPy that NumPy itself cannot read.

It has the surface by which array-api-compat knows CuPy (module and class names, `get`, `device`, the device context)
and, as CuPy does, refuses an implicit conversion to NumPy. It shows which path the code takes, not how CuPy computes.
"""

from __future__ import annotations

import operator
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self

import numpy as np


class Device:
    """The only device; a context manager, as CuPy's are."""

    def __init__(self, device: Any = None) -> None:
        self.id = 0

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Device)

    def __hash__(self) -> int:
        return 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class ndarray:
    """An array that only the functions of this module understand; array-api-compat looks for the name."""

    __array_ufunc__ = None

    def __init__(self, host: Any) -> None:
        self._host = np.asarray(host)

    def __array__(self, *_: object, **__: object) -> Any:
        raise TypeError("Implicit conversion to a NumPy array is not allowed.")

    def get(self) -> np.ndarray:
        return self._host.copy()

    device = property(lambda self: Device())

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _wrapped(getattr(self._host, name))

    def __getitem__(self, key: Any) -> Any:
        return ndarray(self._host[_unwrapped(key)])

    def __setitem__(self, key: Any, value: Any) -> None:
        self._host[_unwrapped(key)] = _unwrapped(value)

    def __bool__(self) -> bool:
        return bool(self._host)

    def __float__(self) -> float:
        return float(self._host)

    def __int__(self) -> int:
        return int(self._host)

    def __index__(self) -> int:
        return operator.index(self._host)

    def __len__(self) -> int:
        return len(self._host)


def _operator(name: str) -> Any:
    return lambda self, *others: _wrapped(getattr(self._host, name)(*_unwrapped(others)))


_BINARY = ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "and", "or", "xor", "lshift", "rshift", "matmul")
_OTHERS = ("lt", "le", "gt", "ge", "eq", "ne", "neg", "abs", "invert")
for _name in (*_BINARY, *(f"r{name}" for name in _BINARY), *_OTHERS):
    setattr(ndarray, f"__{_name}__", _operator(f"__{_name}__"))


def _unwrapped(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        raise TypeError("Unsupported type <class 'numpy.ndarray'>")  # as CuPy's functions say
    if isinstance(value, ndarray):
        return value._host
    if isinstance(value, tuple | list):
        return type(value)(_unwrapped(item) for item in value)
    return value


def _wrapped(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        return ndarray(value)
    if isinstance(value, tuple | list):
        return type(value)(_wrapped(item) for item in value)
    if callable(value) and not isinstance(value, type):
        return lambda *args, **kwargs: _wrapped(
            value(*_unwrapped(args), **{name: _unwrapped(item) for name, item in kwargs.items()})
        )
    return value


def _from_host(obj: Any, dtype: Any = None, **kwargs: Any) -> ndarray:
    return ndarray(np.array(obj._host if isinstance(obj, ndarray) else obj, dtype=dtype, **kwargs))


class _Generator:
    def __init__(self, bits: Any) -> None:
        self._generator = np.random.Generator(bits)

    def standard_normal(self, size: Any, dtype: Any) -> ndarray:
        return ndarray(self._generator.standard_normal(size, dtype=dtype))


def _module(name: str, source: Any, **own: Any) -> types.ModuleType:
    module = types.ModuleType(name)
    for key in dir(source):
        value = getattr(source, key)
        if not key.startswith("_") and not isinstance(value, types.ModuleType):
            setattr(module, key, _wrapped(value))
    for key, value in own.items():
        setattr(module, key, value)
    return module


@contextmanager
def installed() -> Iterator[types.ModuleType]:
    """Make `import cupy` find the stand-in."""
    cuda = types.ModuleType("cupy.cuda")
    cuda.Device = Device  # type: ignore[attr-defined]
    place = types.ModuleType("cupy.cuda.device")
    place.Device = Device  # type: ignore[attr-defined]
    random = types.ModuleType("cupy.random")
    random.Generator, random.XORWOW = _Generator, np.random.SFC64  # type: ignore[attr-defined]
    parts = {"linalg": _module("cupy.linalg", np.linalg), "fft": _module("cupy.fft", np.fft)}
    cupy = _module(
        "cupy",
        np,
        **parts,
        cuda=cuda,
        random=random,
        ndarray=ndarray,
        asarray=_from_host,
        array=_from_host,
        newaxis=None,
    )
    modules = {"cupy": cupy, "cupy.cuda": cuda, "cupy.cuda.device": place, "cupy.random": random}
    modules |= {f"cupy.{name}": part for name, part in parts.items()}
    sys.modules.update(modules)
    try:
        yield cupy
    finally:
        for name in [*modules, *(name for name in sys.modules if name.startswith("array_api_compat.cupy"))]:
            del sys.modules[name]
