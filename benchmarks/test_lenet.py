"""A training step of a LeNet: digital, by pulses, with Tiki-Taka, and hardware-aware."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch

from benchmarks.conftest import SideBySide
from benchmarks.lenet import lenet, step

config = pytest.importorskip("aihw_torch.config", reason="measures the layers of aihw-torch")
aihw_nn = pytest.importorskip("aihw_torch.nn", reason="measures the layers of aihw-torch")
aihw_optim = pytest.importorskip("aihw_torch.optim", reason="measures the layers of aihw-torch")

BATCHES = (8, 64)


def pulsed(device: str) -> Any:
    return config.SingleRPUConfig(device=getattr(config, device)())


def tiki_taka() -> Any:
    devices = [config.SoftBoundsDevice(), config.SoftBoundsDevice()]
    return config.UnitCellRPUConfig(device=config.TransferCompound(unit_cell_devices=devices, transfer_every=2))


def hardware_aware() -> Any:
    """7-bit DAC, 9-bit ADC, output noise, learned input ranges, scales per output, clip and weight noise."""
    rpu = config.InferenceRPUConfig()
    rpu.mapping.weight_scaling_omega, rpu.mapping.weight_scaling_columnwise = 1.0, True
    rpu.pre_post.input_range.enable, rpu.pre_post.input_range.init_from_data = True, 1
    rpu.forward.noise_management = config.NoiseManagementType.NONE
    rpu.forward.bound_management = config.BoundManagementType.NONE
    rpu.clip.type, rpu.clip.sigma = config.WeightClipType.LAYER_GAUSSIAN, 2.5
    rpu.modifier.type, rpu.modifier.std_dev = config.WeightModifierType.ADD_NORMAL, 0.1
    return rpu


KINDS: dict[str, tuple[Callable[[], Any], str]] = {
    "ConstantStepDevice": (lambda: pulsed("ConstantStepDevice"), "<= 3x the time"),
    "SoftBoundsDevice": (lambda: pulsed("SoftBoundsDevice"), "<= 3x the time"),
    "Tiki-Taka": (tiki_taka, ""),
    "hardware-aware": (hardware_aware, "<= 1.5x the time"),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("batch", BATCHES)
def test_training_step(batch: int, kind: str, side_by_side: SideBySide) -> None:
    make, target = KINDS[kind]
    torch.manual_seed(1)
    digital = lenet()
    analog = aihw_nn.convert_to_analog(copy.deepcopy(digital), make())
    case = f"LeNet training step b{batch}, {kind}"
    ours, plain = (step(model, batch, aihw_optim.AnalogSGD) for model in (analog, digital))
    side_by_side("layers", case, ours, "torch", plain, target)
