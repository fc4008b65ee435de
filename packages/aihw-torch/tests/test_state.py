"""State: checkpoints that resume bit for bit, copies, pickles, and what happens when a checkpoint does not fit."""

from __future__ import annotations

import copy
import io
import pickle

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from aihw_torch.config import ConstantStepDevice, ExpStepDevice, MappingParameter, SingleRPUConfig, SoftBoundsDevice
from aihw_torch.nn import AnalogLinear, AnalogSequential
from aihw_torch.optim import AnalogSGD

CONFIGS = {
    "constant_step": SingleRPUConfig(),
    "soft_bounds": SingleRPUConfig(device=SoftBoundsDevice(diffusion=0.001, lifetime=100.0)),
    "grid": SingleRPUConfig(mapping=MappingParameter(max_input_size=5, max_output_size=3)),
    "analog_bias": SingleRPUConfig(mapping=MappingParameter(digital_bias=False)),
}


def network(config, seed=0):
    torch.manual_seed(seed)
    model = AnalogSequential(AnalogLinear(8, 6, rpu_config=config), nn.Tanh(), nn.Linear(6, 4), AnalogLinear(4, 3))
    groups = [{"params": model[2].parameters(), "momentum": 0.9}]
    groups += [{"params": [p for layer in (model[0], model[3]) for p in layer.parameters()], "lr": 0.2}]
    return model, AnalogSGD(groups, lr=0.05)


def train(model, optimizer, steps, first=0):
    for step in range(first, first + steps):
        data = torch.Generator().manual_seed(step)
        x, y = torch.randn(5, 8, generator=data), torch.randint(3, (5,), generator=data)
        optimizer.zero_grad()
        cross_entropy(model(x), y).backward()
        optimizer.step()


def save_and_load(thing):
    buffer = io.BytesIO()
    torch.save(thing, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)


def pickle_copy(thing):
    return pickle.loads(pickle.dumps(thing))


def assert_same_bits(a, b):
    torch.testing.assert_close(a.state_dict(), b.state_dict(), rtol=0, atol=0)
    x = torch.randn(4, 8)
    torch.testing.assert_close(a(x), b(x), rtol=0, atol=0)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
def test_resumed_training_has_the_bits_of_uninterrupted_training(config):
    whole, whole_optimizer = network(config)
    train(whole, whole_optimizer, 20)

    first, optimizer = network(config)
    train(first, optimizer, 10)
    checkpoint = save_and_load({"model": first.state_dict(), "optimizer": optimizer.state_dict()})

    # Other weights, other devices, and the optimizer exists before the state is loaded.
    resumed, optimizer = network(config, seed=99)
    train(resumed, optimizer, 3)
    resumed.load_state_dict(checkpoint["model"])
    optimizer.load_state_dict(checkpoint["optimizer"])
    train(resumed, optimizer, 10, first=10)
    assert_same_bits(resumed, whole)


def test_loading_keeps_parameters_and_discards_the_record():
    model, optimizer = network(CONFIGS["constant_step"])
    state = copy.deepcopy(model.state_dict())
    parameters = list(model.parameters())
    pointers = [p.data_ptr() for p in parameters]
    model(torch.randn(3, 8)).sum().backward()
    model.load_state_dict(state)
    assert [id(p) for p in model.parameters()] == [id(p) for p in parameters]
    assert [p.data_ptr() for p in model.parameters()] == pointers
    train(model, optimizer, 1)
    assert not torch.equal(model.state_dict()["0.analog_module.weight"], state["0.analog_module.weight"])


def test_the_state_is_tensors_without_the_token():
    state = network(CONFIGS["constant_step"])[0].state_dict()
    assert all(type(value) is torch.Tensor for value in state.values())
    assert "0.analog_module.weight" in state
    assert "0.analog_module.bias" in state
    assert not any("token" in key for key in state)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
@pytest.mark.parametrize(
    "duplicate", [copy.deepcopy, lambda thing: pickle.loads(pickle.dumps(thing))], ids=["deepcopy", "pickle"]
)
def test_copies_continue_with_the_same_bits_and_nothing_in_common(config, duplicate):
    model, optimizer = network(config)
    train(model, optimizer, 3)
    model[3].requires_grad_(False)
    model(torch.randn(3, 8)).sum().backward()
    twin, twin_optimizer = duplicate((model, optimizer))
    before = copy.deepcopy(twin.state_dict())
    assert not any(len(tile.record) for tile in twin.analog_tiles())
    for tile in twin.analog_tiles():
        assert tile.weight.analog_tile is tile
        assert tile.weight.data_ptr() == tile.tile.weights.data_ptr()
    assert [p.requires_grad for p in twin.parameters()] == [p.requires_grad for p in model.parameters()]
    train(model, optimizer, 5)
    torch.testing.assert_close(twin.state_dict(), before, rtol=0, atol=0)
    train(twin, twin_optimizer, 5)
    assert_same_bits(model, twin)


def test_a_deep_copied_optimizer_stays_with_its_copied_model():
    model, optimizer = network(CONFIGS["constant_step"])
    twin_optimizer, twin = copy.deepcopy((optimizer, model))
    train(twin, twin_optimizer, 2)
    train(model, optimizer, 2)
    assert_same_bits(model, twin)


def test_a_saved_model_can_be_loaded_whole():
    model, _ = network(CONFIGS["constant_step"])
    buffer = io.BytesIO()
    torch.save(model, buffer)
    buffer.seek(0)
    assert_same_bits(torch.load(buffer, weights_only=False), model)


# ---- states that do not fit


def test_a_state_of_another_size_is_refused_and_changes_no_tile():
    model, other = AnalogLinear(4, 2), AnalogLinear(5, 2)
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(RuntimeError, match="analog_module"):
        model.load_state_dict(other.state_dict())
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)


@pytest.mark.parametrize("key", ["weight", "meta", "seed", "bias"])
def test_missing_keys(key):
    model, state = AnalogLinear(4, 2), AnalogLinear(4, 2).state_dict()
    before = copy.deepcopy(model.state_dict())
    del state[f"analog_module.{key}"]
    with pytest.raises(RuntimeError, match=rf"Missing key.*analog_module\.{key}"):
        model.load_state_dict(state)
    result = model.load_state_dict(state, strict=False)
    assert result.missing_keys == [f"analog_module.{key}"]
    # As in torch what is there is loaded; the state of an array is there only as a whole.
    expected = state if key == "bias" else before
    assert torch.equal(model.weight, expected["analog_module.weight"])
    torch.testing.assert_close(
        model.analog_module.get_hidden_parameters()["max_bound"], expected["analog_module.cell.max_bound"]
    )
    assert torch.equal(model.bias, (before if key == "bias" else state)["analog_module.bias"])


def test_the_state_of_a_digital_layer_is_refused():
    with pytest.raises(RuntimeError, match="Missing key"):
        AnalogLinear(4, 2).load_state_dict(nn.Linear(4, 2).state_dict())


def test_unexpected_keys():
    model = AnalogLinear(4, 2, bias=False)
    state = AnalogLinear(4, 2, bias=True).state_dict()
    with pytest.raises(RuntimeError, match=r"Unexpected key.*analog_module\.bias"):
        model.load_state_dict(state)
    model.load_state_dict(state, strict=False)
    assert torch.equal(model.weight, state["analog_module.weight"])


@pytest.mark.parametrize("load_rpu_config", [None, False, True])
def test_configurations_stay_unless_asked_for(load_rpu_config):
    live = SingleRPUConfig(device=ConstantStepDevice())
    live.forward.out_noise = 0.5
    model = AnalogSequential(AnalogLinear(4, 2, rpu_config=live))
    saved = AnalogSequential(AnalogLinear(4, 2)).state_dict()
    if load_rpu_config is None:  # no choice was made
        with pytest.warns(UserWarning, match="load_rpu_config=True"):
            model.load_state_dict(saved)
    else:
        model.load_state_dict(saved, load_rpu_config=load_rpu_config)
    tile = next(model.analog_tiles())
    assert tile.rpu_config.forward.out_noise == (0.06 if load_rpu_config else 0.5)
    assert torch.equal(tile.weight, saved["0.analog_module.weight"])
    assert tile.weight.data_ptr() == tile.tile.weights.data_ptr()


def test_the_choice_of_the_configuration_does_not_stick():
    config = SingleRPUConfig()
    config.forward.out_noise = 0.5
    quiet, noisy = AnalogLinear(4, 2).state_dict(), AnalogLinear(4, 2, rpu_config=config).state_dict()
    model = AnalogLinear(4, 2)
    model.load_state_dict(noisy, load_rpu_config=True)
    with pytest.warns(UserWarning, match="keeps its configuration"):
        model.load_state_dict(quiet)
    assert model.analog_module.rpu_config.forward.out_noise == 0.5


def test_another_device_needs_its_configuration():
    model = AnalogLinear(4, 2, rpu_config=SingleRPUConfig(device=ExpStepDevice()))
    state = AnalogLinear(4, 2, rpu_config=SingleRPUConfig(device=SoftBoundsDevice())).state_dict()
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(RuntimeError, match="load_rpu_config=True"):
        model.load_state_dict(state)
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)
    parameters = list(model.parameters())
    model.load_state_dict(state, load_rpu_config=True)
    assert isinstance(model.analog_module.rpu_config.device, SoftBoundsDevice)
    torch.testing.assert_close(model.state_dict(), state, rtol=0, atol=0)
    assert all(a is b for a, b in zip(model.parameters(), parameters, strict=True))
