"""Configurations of hardware-aware training that the tests share."""

from __future__ import annotations

from typing import Any

import torch

from aihw_torch.config import (
    BoundManagementType,
    InferenceRPUConfig,
    IOParameters,
    NoiseManagementType,
    WeightClipType,
    WeightModifierType,
    WeightRemapType,
)
from aihw_torch.nn import AnalogLinear


def hwa_config(perfect: bool = True, **fields: Any) -> InferenceRPUConfig:
    """Return a configuration with exact reads and no modifier, or with the fields given."""
    config = InferenceRPUConfig(forward=IOParameters(is_perfect=perfect))
    for name, value in fields.items():
        setattr(config, name, value)
    return config


def noisy_config(**fields: Any) -> InferenceRPUConfig:
    """Return a configuration with everything on: range, clip, remap, modifier, converters without bound management."""
    config = hwa_config(perfect=False, **fields)
    config.mapping.weight_scaling_omega = 1.0
    config.mapping.weight_scaling_columnwise = True
    config.pre_post.input_range.enable = True
    config.forward.noise_management = NoiseManagementType.NONE
    config.forward.bound_management = BoundManagementType.NONE
    config.clip.type, config.clip.sigma = WeightClipType.LAYER_GAUSSIAN, 2.0
    config.remap.type = WeightRemapType.CHANNELWISE_SYMMETRIC
    config.modifier.type, config.modifier.std_dev = WeightModifierType.ADD_NORMAL, 0.1
    return config


def layer_of(config: Any, out: int = 3, inputs: int = 5, bias: bool = True, seed: int = 7) -> AnalogLinear:
    """Return a layer whose initial weights depend on torch's random state."""
    return AnalogLinear(inputs, out, bias, config, seed=seed)


def twin_of(layer: AnalogLinear) -> torch.nn.Linear:
    """Return torch's layer with the same logical weights."""
    weight, bias = layer.get_weights()
    twin = torch.nn.Linear(layer.in_features, layer.out_features, bias is not None)
    with torch.no_grad():
        twin.weight.copy_(weight)
        if bias is not None:
            twin.bias.copy_(bias)
    return twin
