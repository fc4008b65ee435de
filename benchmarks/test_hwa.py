"""Hardware-aware training beside nn.Linear: forward and backward with input range, weight noise and quantisation."""

from __future__ import annotations

import pytest
from torch import nn

from benchmarks.cases import Case
from benchmarks.conftest import SideBySide
from benchmarks.test_layers import passes

config = pytest.importorskip("aihw_torch.config", reason="measures the layers of aihw-torch")
aihw_nn = pytest.importorskip("aihw_torch.nn", reason="measures the layers of aihw-torch")


def hardware_aware(clip: bool) -> object:
    """Everything on: 7-bit DAC, 9-bit ADC and output noise, learned input range, scales per output, weight noise."""
    rpu = config.InferenceRPUConfig()
    rpu.mapping.weight_scaling_omega, rpu.mapping.weight_scaling_columnwise = 1.0, True
    rpu.mapping.max_input_size = rpu.mapping.max_output_size = 0
    rpu.pre_post.input_range.enable, rpu.pre_post.input_range.init_from_data = True, 1
    rpu.forward.noise_management = config.NoiseManagementType.NONE
    rpu.forward.bound_management = config.BoundManagementType.NONE
    rpu.modifier.type, rpu.modifier.std_dev = config.WeightModifierType.ADD_NORMAL, 0.1
    if clip:
        rpu.clip.type, rpu.clip.fixed_value = config.WeightClipType.FIXED_VALUE, 1.0
    return rpu


@pytest.mark.parametrize("clip", [False, True], ids=["", "clip"])
@pytest.mark.parametrize(("size", "batch"), [(1024, 256), (256, 32)])
def test_passes(size: int, batch: int, clip: bool, side_by_side: SideBySide) -> None:
    case = Case("forward", "constant", size, size, batch)
    analog = passes(aihw_nn.AnalogLinear(size, size, rpu_config=hardware_aware(clip)), case)
    name = f"hardware-aware passes {size}x{size}-b{batch}{' with clip' if clip else ''}"
    target = "<= 1.5x the time" if size == 1024 else ""
    side_by_side("layers", name, analog, "nn.Linear", passes(nn.Linear(size, size), case), target)
