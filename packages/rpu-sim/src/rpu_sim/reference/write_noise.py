"""What an array shows of its stored weights (``core/physics/write_noise.hpp``)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..config import PulsedDevice
from ..config.cells import write_noise
from ..streams import Stream
from . import philox
from .fmath import f32

Float32 = NDArray[np.float32]

PULSED_WRITE, WRITE = range(2)


def written(
    device: PulsedDevice, stored: Float32, step: int, key: int, *, draw: int = WRITE, chunk: int = 0
) -> Float32:
    """Every stored weight with fresh write noise."""
    rows, columns = stored.shape
    xi = philox.normals(rows, columns, step, Stream.WRITE_NOISE, draw, key, sample=chunk)
    return stored + f32(write_noise(device)) * xi
