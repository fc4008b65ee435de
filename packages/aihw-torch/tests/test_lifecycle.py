"""What time does to the devices of a pulsed tile outside of training."""

from __future__ import annotations

import pytest
import torch

from aihw_torch.config import SingleRPUConfig, SoftBoundsDevice
from aihw_torch.nn import AnalogLinear


@pytest.mark.parametrize(
    ("on_tile", "on_array"),
    [
        (lambda tile: tile.drift_weights(10.0), lambda tile: tile.drift(10.0)),
        (lambda tile: tile.decay_weights(2.0), lambda tile: tile.decay(2.0)),
        (lambda tile: tile.diffuse_weights(), lambda tile: tile.diffuse()),
        (lambda tile: tile.reset(0.5), lambda tile: tile.reset(prob=0.5)),
        (lambda tile: tile.reset_columns(1, 2), lambda tile: tile.reset(1, 2)),
    ],
    ids=["drift", "decay", "diffusion", "reset", "reset of columns"],
)
@pytest.mark.parametrize("write_noise", [0.0, 0.1])
def test_what_time_does_to_the_devices_of_a_tile(on_tile, on_array, write_noise):
    """As the array alone does it; autograd learns of it, and the layer goes on."""
    device = SoftBoundsDevice(lifetime=10.0, diffusion=0.1, write_noise_std=write_noise)
    device.drift.nu = 0.1
    layer, twin = (AnalogLinear(4, 3, False, SingleRPUConfig(device=device), seed=5) for _ in "ab")
    twin.load_state_dict(layer.state_dict())
    before, version = layer.weight.detach().clone(), layer.weight._version
    on_tile(layer.analog_module)
    on_array(twin.analog_module.tile)
    assert not torch.equal(layer.weight, before)
    assert layer.weight._version > version
    assert torch.equal(layer.weight, twin.weight)
    assert layer(torch.ones(2, 4)).shape == (2, 3)
