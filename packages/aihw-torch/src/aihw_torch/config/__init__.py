"""What a layer simulates: devices, pulsed update, converters and noise of the read, mapping, inference.

Every name of `rpu_sim.config`, which defines and documents them, under the name that training scripts import, and the
configurations that name noise models.
"""

from __future__ import annotations

import rpu_sim.config
from aihw_torch.config.inference import (
    InferenceRPUConfig,
    TorchInferenceRPUConfig,
    TorchInferenceRPUConfigIRDropT,
    register_part,
)
from rpu_sim.config import *  # noqa: F403

__all__ = [
    *rpu_sim.config.__all__,
    "InferenceRPUConfig",
    "TorchInferenceRPUConfig",
    "TorchInferenceRPUConfigIRDropT",
    "register_part",
]
