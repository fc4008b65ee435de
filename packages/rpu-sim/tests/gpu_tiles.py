"""Tiles whose state is on a GPU beside tiles on the CPU: what the tests of them share.

Without a GPU its kernels run on the host, on memory that only they may touch, so that host logic which reads what lies
on the GPU ends in a segmentation fault.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from exact import EMULATED, GPU
from unit_cells import WRITTEN

from rpu_sim import Tile
from rpu_sim import config as c

OUT, IN, BATCH = 9, 21, 6
STORED = {
    "written": WRITTEN,
    "drifting": c.SoftBoundsDevice(
        drift=c.DriftParameter(nu=0.1, nu_dtod=0.3, nu_std=0.2), diffusion=0.01, lifetime=9.0
    ),
    "both": c.SoftBoundsDevice(write_noise_std=0.2, drift=c.DriftParameter(nu=0.05), diffusion=0.02),
    "counted": c.ConstantStepDevice(count_pulses=True, lifetime=20.0),
    "ideal": c.IdealDevice(diffusion=0.02, lifetime=10.0),
}

needs_kernels = pytest.mark.skipif(
    not (EMULATED or GPU), reason="there is no GPU, and this build has no emulated kernels"
)


def config_of(device: Any, **fields: Any) -> Any:
    kind = c.UnitCellRPUConfig if isinstance(device, c.UnitCell) else c.SingleRPUConfig
    kind = c.DigitalRankUpdateRPUConfig if isinstance(device, c.DigitalRankUpdateCell) else kind
    return kind(device=device, **fields)


def pair(device: str, config: Any, seed: int = 3) -> tuple[Tile, Tile]:
    return Tile(OUT, IN, config, seed=seed), Tile(OUT, IN, config, seed=seed, device=device)


def samples(n: int = BATCH, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x, d = rng.standard_normal((n, IN)).astype(np.float32), rng.standard_normal((n, OUT)).astype(np.float32)
    x[0, :3] = 0.0
    return 0.5 * x, 0.2 * d


def assert_same_state(tiles: tuple[Tile, Tile], when: str) -> None:
    states = [tile.state_dict() for tile in tiles]
    assert states[0].keys() == states[1].keys()
    for name, expected in states[0].items():
        assert states[1][name].tobytes() == expected.tobytes(), f"{name} differs after {when}"
