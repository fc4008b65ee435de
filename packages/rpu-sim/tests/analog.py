"""One direction of a tile without the tile: the compiled product beside its oracle."""

from __future__ import annotations

from typing import Any

import numpy as np

from rpu_sim import _core, periphery, reference
from rpu_sim.config import BoundManagementType, IOParameters, MappingParameter, NoiseManagementType

KEY = 0x1234567890ABCDEF

#: Switches every effect off; tests switch on the one they look at.
CLEAN: dict[str, Any] = {
    "inp_bound": -1.0,
    "inp_res": -1.0,
    "out_bound": -1.0,
    "out_res": -1.0,
    "out_noise": 0.0,
    "noise_management": NoiseManagementType.NONE,
    "bound_management": BoundManagementType.NONE,
}


def clean(**fields: Any) -> IOParameters:
    """Parameters without any non-ideality but ``fields``."""
    return IOParameters(**{**CLEAN, **fields})


class Product:
    """The compiled product of one direction, with its constants."""

    def __init__(
        self, io: IOParameters, weights: np.ndarray, *, backward: bool = False, key: int = KEY, physical: int = 0
    ) -> None:
        self.io, self.backward, self.key = io, backward, key
        self.weights = np.ascontiguousarray(weights, np.float32)
        direction = "backward" if backward else "forward"
        self.outputs = self.weights.shape[1] if backward else self.weights.shape[0]
        shapes = periphery.buffer_shapes(io, direction, (self.weights.shape[0], self.weights.shape[1]))
        self.constants = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
        around = MappingParameter(max_input_size=physical, max_output_size=physical)
        self.compiled = _core.AnalogProduct(
            io,
            backward,
            self.weights,
            physical_inputs=periphery.physical_inputs(io, direction, around),
            **self.constants,
        )
        self.compiled.draw_constants(key)

    def __call__(self, x: np.ndarray, *, step: int = 0, first: int = 0, freeze: bool = False) -> np.ndarray:
        y = np.full((len(x), self.outputs), np.nan, np.float32)
        self.compiled(np.asarray(x, np.float32), y, self.key, step, first, freeze)
        return y


class OracleProduct:
    """The same from the NumPy oracle."""

    def __init__(
        self, io: IOParameters, weights: np.ndarray, *, backward: bool = False, key: int = KEY, physical: int = 0
    ) -> None:
        self.io, self.weights, self.backward, self.key, self.physical = io, weights, backward, key, physical
        shape = (weights.shape[0], weights.shape[1])
        self.constants = reference.array.constants(io, shape, key, backward=backward)
        if not io.is_perfect and io.noise_management is NoiseManagementType.AVERAGE_ABS_MAX:
            self.constants["running_mean"] = np.zeros(1, np.float32)

    def __call__(self, x: np.ndarray, *, step: int = 0, first: int = 0, freeze: bool = False) -> np.ndarray:
        return reference.mvm.mvm(
            self.weights, x, self.io, key=self.key, step=step, first_sample=first, backward=self.backward,
            freeze_mean=freeze, physical_inputs=self.physical, **self.constants,
        )  # fmt: skip
