"""Files: what is written can be read with weights_only and as safetensors, and goes on bit for bit."""

from __future__ import annotations

import io

import pytest
import torch
from torch import nn

from aihw_torch.config import MappingParameter, SingleRPUConfig, SoftBoundsDevice
from aihw_torch.errors import StateError
from aihw_torch.nn import AnalogConv2d, AnalogLinear, AnalogSequential
from aihw_torch.optim import AnalogAdam
from aihw_torch.tiles import WeightTile
from aihw_torch.utils.safetensors import load_safetensors, save_safetensors


def network(seed=0):
    """Return a network with everything that has state, and its optimizer."""
    torch.manual_seed(seed)
    mapping = MappingParameter(weight_scaling_omega=0.5, learn_out_scaling=True, max_input_size=12)
    config = SingleRPUConfig(device=SoftBoundsDevice(diffusion=0.001, lifetime=100.0), mapping=mapping)
    config.forward.out_noise_std = 0.1
    config.pre_post.input_range.enable = True
    software = SingleRPUConfig(tile_class=WeightTile, mapping=mapping)
    model = AnalogSequential(
        AnalogConv2d(2, 4, 3, groups=2, rpu_config=config), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.3),
        nn.Flatten(), AnalogLinear(36, 6, rpu_config=config), nn.Linear(6, 6), AnalogLinear(6, 3, rpu_config=software),
    )  # fmt: skip
    return model, AnalogAdam(model.parameters(), lr=0.02)


@pytest.mark.filterwarnings("ignore:only digital parameters follow the step rule of Adam")
def train(model, optimizer, steps):
    for _ in range(steps):
        x, y = torch.randn(4, 2, 5, 5), torch.randint(3, (4,))
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()


pytestmark = pytest.mark.filterwarnings("ignore:only digital parameters follow the step rule of Adam")


def test_resuming_with_optimizer_and_random_state_has_the_bits_of_going_on():
    whole, optimizer = network()
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.9)
    train(whole, optimizer, 3)
    scheduler.step()
    buffer = io.BytesIO()
    parts = {"model": whole, "optimizer": optimizer, "scheduler": scheduler}
    torch.save({**{name: part.state_dict() for name, part in parts.items()}, "rng": torch.get_rng_state()}, buffer)
    train(whole, optimizer, 3)

    buffer.seek(0)
    saved = torch.load(buffer, weights_only=True)
    resumed, other = network(seed=99)  # other devices, other seeds; the optimizer exists before the state is loaded
    other_scheduler = torch.optim.lr_scheduler.StepLR(other, 1, 0.9)
    train(resumed, other, 1)
    resumed.load_state_dict(saved["model"])
    other.load_state_dict(saved["optimizer"])
    other_scheduler.load_state_dict(saved["scheduler"])
    torch.set_rng_state(saved["rng"])
    train(resumed, other, 3)
    torch.testing.assert_close(resumed.state_dict(), whole.state_dict(), rtol=0, atol=0)


def test_safetensors_there_and_back(tmp_path):
    model, optimizer = network()
    train(model, optimizer, 2)
    save_safetensors(model, tmp_path / "model.safetensors", {"note": "two steps"})
    other, other_optimizer = network(seed=5)
    load_safetensors(other, tmp_path / "model.safetensors")
    torch.testing.assert_close(other.state_dict(), model.state_dict(), rtol=0, atol=0)
    other_optimizer.load_state_dict(optimizer.state_dict())
    state = torch.get_rng_state()
    train(model, optimizer, 1)
    torch.set_rng_state(state)
    fresh, fresh_optimizer = network(seed=6)
    del fresh_optimizer
    load_safetensors(fresh, tmp_path / "model.safetensors")
    torch.testing.assert_close(
        fresh.eval()(torch.ones(1, 2, 5, 5)), other.eval()(torch.ones(1, 2, 5, 5)), rtol=0, atol=0
    )


def test_safetensors_choose_the_configuration(tmp_path):
    layer = AnalogLinear(3, 2, rpu_config=SingleRPUConfig(device=SoftBoundsDevice(dw_min=0.01)))
    save_safetensors(layer, tmp_path / "layer.safetensors")
    other = AnalogLinear(3, 2, rpu_config=SingleRPUConfig(device=SoftBoundsDevice(dw_min=0.02)))
    for choice, kept in ((False, 0.02), (True, 0.01)):
        load_safetensors(other, tmp_path / "layer.safetensors", load_rpu_config=choice)
        assert other.analog_module.rpu_config.device.dw_min == kept
        assert torch.equal(other.weight, layer.weight)


def test_safetensors_of_layers_that_are_used_twice(tmp_path):
    shared = nn.Linear(3, 3)
    model = nn.Sequential(shared, AnalogLinear(3, 3), shared)
    save_safetensors(model, tmp_path / "shared.safetensors")
    load_safetensors(model, tmp_path / "shared.safetensors")


def test_other_files_are_refused(tmp_path):
    from safetensors.torch import save_file

    save_file({"weight": torch.zeros(2)}, tmp_path / "other.safetensors")
    with pytest.raises(StateError, match="save_safetensors"):
        load_safetensors(AnalogLinear(3, 2), tmp_path / "other.safetensors")


def test_software_tiles_take_the_configuration_they_are_told_to():
    quiet = SingleRPUConfig(tile_class=WeightTile)
    noisy = SingleRPUConfig(tile_class=WeightTile)
    noisy.forward.out_noise = 0.5
    layer, saved = AnalogLinear(4, 2, rpu_config=quiet), AnalogLinear(4, 2, rpu_config=noisy).state_dict()
    with pytest.warns(UserWarning, match="load_rpu_config=True"):
        layer.load_state_dict(saved)
    assert layer.analog_module.rpu_config.forward.out_noise == 0.06
    layer.load_state_dict(saved, load_rpu_config=False)
    layer.load_state_dict(saved, load_rpu_config=True)
    assert layer.analog_module.rpu_config.forward.out_noise == 0.5
    assert layer.analog_module.rpu_config.tile_class is WeightTile
    torch.testing.assert_close(layer.state_dict(), saved, rtol=0, atol=0)


@pytest.mark.parametrize("key", ["weight", "meta", "seed", "step.forward", "bias"])
def test_missing_keys_of_software_tiles(key):
    layer = AnalogLinear(4, 2, rpu_config=SingleRPUConfig(tile_class=WeightTile))
    state = layer.state_dict()
    del state[f"analog_module.{key}"]
    with pytest.raises(RuntimeError, match=rf"Missing key.*analog_module\.{key}"):
        layer.load_state_dict(state)
    assert layer.load_state_dict(state, strict=False).missing_keys == [f"analog_module.{key}"]
