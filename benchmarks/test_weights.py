"""Modified copies of weights, as every step of hardware-aware training draws them, beside torch's normal numbers."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count

import torch

from benchmarks.conftest import SideBySide
from benchmarks.interleave import Local
from rpu_sim import WeightModifier, clip_weights, remap_weights
from rpu_sim.config import (
    WeightClipParameter,
    WeightClipType,
    WeightModifierParameter,
    WeightModifierType,
    WeightRemapParameter,
    WeightRemapType,
)

ONE_NORMAL = (WeightModifierType.ADD_NORMAL, WeightModifierType.MULT_NORMAL, WeightModifierType.POLY)


@dataclass(frozen=True)
class WeightCase:
    """A modifier on a square matrix."""

    type: WeightModifierType
    size: int

    def __str__(self) -> str:
        return f"modify-{self.type.name.lower()}-{self.size}x{self.size}"


def cases(*, full: bool) -> list[WeightCase]:
    types = [t for t in WeightModifierType if t is not WeightModifierType.NONE] if full else [ONE_NORMAL[0]]
    return [WeightCase(t, size) for t in types for size in ((256, 512, 1024, 2048) if full else (512, 1024))]


def matrix(size: int) -> torch.Tensor:
    return 0.3 * torch.randn(size, size, generator=torch.Generator().manual_seed(0))


def torch_noise(weights: torch.Tensor) -> Local:
    """What one writes in PyTorch for additive noise."""
    return Local(lambda: weights + 0.1 * weights.abs().max() * torch.randn_like(weights))


def test_modify(case: WeightCase, side_by_side: SideBySide) -> None:
    weights = matrix(case.size)
    parameters = WeightModifierParameter(
        type=case.type, std_dev=0.1, res=0.01, pdrop=0.1 * (case.type is WeightModifierType.DROP_CONNECT)
    )
    modifier, steps = WeightModifier(parameters), count()
    ours = Local(lambda: modifier(weights, seed=1, step=next(steps)))
    target = "<= 1x the time" if case.type in ONE_NORMAL else ""
    side_by_side("modified weights", str(case), ours, "additive noise in torch", torch_noise(weights), target)


def test_clip_and_remap(side_by_side: SideBySide) -> None:
    weights, scales = matrix(1024), torch.ones(1024)
    clip = WeightClipParameter(type=WeightClipType.LAYER_GAUSSIAN)
    remap = WeightRemapParameter(type=WeightRemapType.CHANNELWISE_SYMMETRIC)
    ours = Local(lambda: remap_weights(clip_weights(weights, clip), scales, remap))

    def in_torch() -> None:
        bound = 2.5 * float(weights.std())
        clipped = weights.clamp(-bound, bound)
        largest = clipped.abs().amax(dim=1)
        _ = clipped / largest[:, None], scales * largest

    side_by_side("modified weights", "clip-and-remap-1024x1024", ours, "the same in torch", Local(in_torch), "")
