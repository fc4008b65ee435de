"""The devices of torch that tiles can compute on."""

from __future__ import annotations

import torch
from torch import Tensor

from rpu_sim import cuda


def may_hold_tiles(x: Tensor) -> bool:
    """Whether a tensor lies where tiles can: on the CPU, on CUDA, or on a device that is emulated for tests."""
    return x.is_cpu or x.is_cuda or x.device.type == torch._C._get_privateuse1_backend_name()


def has_kernels(x: Tensor) -> bool:
    """Whether `rpu_sim` can compute where a tensor lies, as it is installed."""
    return x.is_cpu or (may_hold_tiles(x) and not cuda.state().problem)
