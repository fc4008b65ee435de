"""Drift of the stored weights of one array of devices: the exponents, and what each cell remembers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _core
from .arrays import Float32
from .config import Device, DriftParameter
from .config.base import field_types
from .gpu import Space

MEMORY = ("drift_age", "drift_start", "drift_seen")


def parameters_of(device: Device) -> DriftParameter | None:
    """The full drift parameters of a device; None without drift."""
    drift = device.drift
    if drift.nu <= 0.0:
        return None
    known = field_types(type(drift))
    return DriftParameter(**{name: getattr(drift, name) for name in known})


class Drift:
    """Drift of the cells of one array.

    Args:
        parameters: The law of the drift.
        shape: Shape [out, in] of the array.

    Attributes:
        arrays: ``drift_nu`` float32 [out, in] or [1, 1], and float32 [out, in] each ``drift_age`` (time since a cell
            was written, in units of ``t_0``; below 0 before the first drift), ``drift_start`` (weight then) and
            ``drift_seen`` (weight after the last drift).
    """

    def __init__(self, parameters: DriftParameter, shape: tuple[int, ...]) -> None:
        self.parameters = parameters
        nu = np.full(shape if parameters.nu_dtod > 0.0 else (1, 1), parameters.nu, np.float32)
        memory = {name: np.full(shape, start, np.float32) for name, start in zip(MEMORY, (-1, 0, 0), strict=True)}
        self.adopt({"drift_nu": nu, **memory})

    def adopt(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Take arrays of the same names, and let the core borrow them."""
        self.arrays = arrays
        self._core = _core.Drift(self.parameters, *(arrays[name] for name in ("drift_nu", *MEMORY)))

    def move(self, space: Space) -> None:
        """Hold the arrays in another space."""
        self.adopt({name: space.put(values) for name, values in self.arrays.items()})

    def reconfigure(self, parameters: DriftParameter) -> None:
        """Take other parameters and keep the drawn exponents."""
        self.parameters = parameters
        self.adopt(self.arrays)

    def draw(self, cells: Any, key: int) -> None:
        """Draw the exponent of each cell."""
        if self.parameters.nu_dtod > 0.0:
            _core.draw_drift_exponents(cells, self._core, key)

    def __call__(self, cells: Any, delta_t: float, key: int, step: int) -> None:
        """Let the stored weights drift for ``delta_t``, in the unit of ``t_0``."""
        _core.drift(cells, self._core, delta_t / self.parameters.t_0, key, step)

    def follow(self, cells: Any, before: Float32) -> None:
        """Take over a change of the stored weights from ``before`` by a process that is no write."""
        _core.follow_drift(cells, self._core, before)
